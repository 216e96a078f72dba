"""Tables that LaTeX sets, whatever the names."""

import re
import shutil
import subprocess

import pytest

from namprune.report import Report, collect, to_latex
from namprune.report.latex import escape

HOSTILE = '\\input{/etc/passwd} 50% a&b_c^d~e#f$g$ "`<|>[x]* --- γΔ±é中\n\\end{table*} \x1b[0m\ud800'


def letters(latex: str) -> str:
    """What is left of it without the commands that stand for one character each."""
    left = re.sub(r"\\ensuremath\{(\\[a-zA-Z]+|-)\}|\\text[a-z]+\{\}|\\ldots\{\}|\\[{}$&#_%]", "", latex)
    return re.sub(r"\{[\[\]*]\}|\{\}", "", left)


def test_nothing_in_a_name_is_run() -> None:
    escaped = escape(HOSTILE)
    assert not set(letters(escaped)) & set('\\{}$&#_%^~"`<|>\n')
    assert escaped.startswith(r"\textbackslash{}input\{/etc/passwd\} 50\% a\&b\_c\textasciicircum{}d")
    assert "--" not in escaped
    assert re.fullmatch(r"[\x20-\x7eÀ-ÿ]*", escaped)


@pytest.mark.parametrize(
    ("text", "latex"),
    [
        ("γ of Δ ± 3 ×", r"\ensuremath{\gamma} of \ensuremath{\Delta} \ensuremath{\pm} 3 \ensuremath{\times}"),
        ("naïve ﬁle", "naïve file"),
        ("中", "(U+4E2D)"),
        ("½", "(U+00BD)"),
        ("a-b--c---d", "a-b-{}-c-{}-{}-d"),
        ("[4pt]*", "{[}4pt{]}{*}"),  # behind \\ it would be an option
        ("a\tb\n\nc", "a b c"),
    ],
)
def test_text_stays_text(text, latex) -> None:
    assert escape(text) == latex


NAME = HOSTILE.replace("\ud800", "")  # which no file can hold


@pytest.fixture
def report(store, save, make_result, make_pruned):
    dense = make_result("d", macs=40_600_000, data=NAME, attention="nam (γ_b)")
    save(dense)
    pruned = make_pruned(
        "p", parent=dense, top1=0.89, macs=20_600_000, data=NAME, attention="se", medians=(0.01, 0.004)
    )
    save(pruned)
    store.create("cut-short", recipe="")
    return Report.of(collect(store))


def test_a_table_has_the_rows_and_what_they_share_in_the_caption(report) -> None:
    lines = to_latex(report).splitlines()
    assert [line for line in lines if line.startswith("%   ")] == [
        r"%   \usepackage[T1]{fontenc}",
        r"%   \usepackage{adjustbox}",
        r"%   \usepackage{booktabs}",
    ]
    columns = next(line for line in lines if line.startswith(r"\begin{tabular}"))
    rows = [line for line in lines if line.endswith(r"\\")]
    assert columns == r"\begin{tabular}{llrrrrrrr}"
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {8}
    assert rows[0].startswith(r"Attention & Cut & Seeds & Top-1 \% & \ensuremath{\Delta} & MACs")
    assert rows[2].startswith(
        r"se & 0.5 nam global & 1 & 89.00 & \ensuremath{-}1.00 & 20.6 M (0.51\ensuremath{\times})"
    )
    (caption,) = (line for line in lines if line.startswith(r"\caption"))
    assert r"Model: resnet20" in caption
    assert r"\textbackslash{}input" in caption
    assert caption.count("{") - caption.count(r"\{") == caption.count("}") - caption.count(r"\}")


def test_what_names_say_stays_in_its_comment(report) -> None:
    latex = to_latex(report)
    below = latex[latex.index(r"\end{table*}") :].splitlines()[1:]
    assert all(line.startswith("% ") for line in below)
    assert any("cut-short" in line for line in below)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_pdflatex_sets_it(report, tmp_path) -> None:
    text = to_latex(report)
    head = r"\documentclass[twocolumn]{article}\usepackage[T1]{fontenc}\usepackage{adjustbox,booktabs}\begin{document}"
    (tmp_path / "t.tex").write_text(f"{head}\n{text}\n\\end{{document}}\n", encoding="utf-8")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
