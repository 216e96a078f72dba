"""namprune report as a user runs it: formats by name and by suffix, the page, the figures, and what is loaded."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from namprune.cli import app
from namprune.errors import UserError


@pytest.fixture
def report(store, save, make_result, make_pruned, tmp_path, monkeypatch):
    """Runs the command over a dense run and its cut, in an empty folder."""
    dense = make_result("d")
    save(dense)
    save(make_pruned("p", parent=dense, macs=20_000_000))
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return CliRunner().invoke(app, ["report", "--runs", str(store.root), *map(str, arguments)])

    return run


@pytest.mark.parametrize(
    ("suffix", "start"),
    [("tex", "% Written by namprune"), ("TEX", "% Written by namprune"), ("md", "| Data |"), ("json", "{")],
)
def test_the_suffix_says_the_format(report, tmp_path, suffix, start) -> None:
    done = report("--output", tmp_path / f"r.{suffix}")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "report of 2 rows written to" in done.stderr
    assert (tmp_path / f"r.{suffix}").read_text().startswith(start)


def test_latex_is_printed(report) -> None:
    assert r"\toprule" in report("--format", "latex").stdout


def test_a_table_ends_with_the_next_command(report, store) -> None:
    done = report("d", "p")
    assert done.stderr == f"next: namprune report d p --format html --runs {store.root}\n"


def test_the_page_goes_where_one_finds_it_and_over_an_earlier_one(report, tmp_path) -> None:
    for _ in range(2):
        done = report("--format", "html")
        assert (done.exit_code, done.stdout) == (0, ""), done.stderr
        assert f"open file://{tmp_path}/report.html" in done.stderr
    assert (tmp_path / "report.html").read_text().lower().lstrip().startswith("<!doctype html>")


@pytest.mark.parametrize("name", ["report.html", "mine.htm"])
def test_a_page_of_somebody_else_stays(report, tmp_path, name) -> None:
    theirs = tmp_path / name
    theirs.write_text("<html>mine</html>")
    done = report(*(["--format", "html"] if name == "report.html" else ["--output", theirs]))
    assert isinstance(done.exception, UserError)
    assert "is no report of namprune" in done.exception.message
    assert theirs.read_text() == "<html>mine</html>"


def test_json_beside_a_page_needs_a_file_for_it(report, tmp_path) -> None:
    assert "exclude each other" in str(report("--format", "html", "--json").exception)
    assert not (tmp_path / "report.html").exists()
    done = report("--json", "--output", tmp_path / "r.html")
    assert [row["runs"] for row in json.loads(done.stdout)["rows"]] == [["d"], ["p"]]


def test_figures_of_named_runs_have_their_widths(report, store, tmp_path) -> None:
    plan = {"groups": [{"root": "stem", "before": 4, "kept": [1]}]}
    (store.root / "p" / "plan.json").write_text(json.dumps(plan))
    done = report("p", "--figures", tmp_path / "a" / "b", "--format", "csv")
    assert done.exit_code == 0, done.stderr
    stem = "resnet20-on-cifar-10-jpeg-macs"
    assert {file.name for file in (tmp_path / "a" / "b").iterdir()} == {
        f"{name}.{suffix}" for name in (stem, "widths-p") for suffix in ("png", "svg")
    }
    assert done.stdout.startswith("Data,")


def test_figures_need_a_folder(report, tmp_path) -> None:
    (tmp_path / "f").write_text("")
    done = report("--figures", tmp_path / "f")
    assert "cannot write" in str(done.exception)


def test_names_that_no_file_can_hold_are_spelled_out(store, save, make_result, tmp_path) -> None:
    folder = save(make_result("a"))
    text = folder.result_file.read_text().replace("CIFAR-10 (JPEG)", "\\ud800")
    folder.result_file.write_text(text)
    for suffix in ("md", "csv", "tex", "html"):
        target = tmp_path / f"r.{suffix}"
        done = CliRunner().invoke(app, ["report", "--runs", str(store.root), "--output", str(target)])
        assert done.exit_code == 0, done.exception
        assert "ud800" in target.read_text()


@pytest.fixture
def two_hundred(store, save, make_result):
    """Runs of 67 experiments, without a pause for the disk after each file."""
    first = save(make_result("r-0", recipe_digest="d-0", macs=1000))
    result = first.result_file.read_text()
    for number in range(1, 200):
        folder = store.root / f"r-{number}"
        folder.mkdir()
        own = result.replace('"r-0"', f'"r-{number}"').replace('"d-0"', f'"d-{number // 3}"')
        (folder / "result.json").write_text(own.replace('"seed": 0', f'"seed": {number % 3}'))
        for file in (first.recipe, first.weights):
            (folder / file.name).write_bytes(file.read_bytes())
    return store.root


SCRIPT = """
import sys, time
begun = time.process_time()
from namprune.cli import main
try:
    main()
except SystemExit:
    pass
heavy = [name for name in ("torch", "numpy", "matplotlib", "plotly", "jinja2") if name in sys.modules]
print(time.process_time() - begun, *heavy, file=sys.stderr)
"""


@pytest.mark.parametrize(("form", "loaded"), [("table", []), ("md", []), ("latex", []), ("html", ["plotly", "jinja2"])])
def test_two_hundred_runs_are_reported_in_a_second_without_torch(two_hundred, tmp_path, form, loaded) -> None:
    command = [sys.executable, "-c", SCRIPT, "report", "--format", form, "--runs", str(two_hundred)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    seconds, *heavy = done.stderr.splitlines()[-1].split()
    assert heavy == loaded
    assert float(seconds) < 2.0  # of the processor; half of a second on a quiet one
