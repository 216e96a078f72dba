"""The report as LaTeX tables for a paper: booktabs, every name escaped, for pdflatex as for the others."""

import re
import unicodedata
from collections.abc import Iterator

from namprune.console import printable
from namprune.report.formats import Report, to_tables
from namprune.table import Table

HEAD = r"""% Written by namprune. Needs in the preamble:
%   \usepackage[T1]{fontenc}
%   \usepackage{adjustbox}
%   \usepackage{booktabs}
"""

LEFT_OUT = ("Run", "File")
"""Columns of names that say nothing to the reader of a paper; they are in the other formats."""

SHORT = (
    "Top-1: mean ± standard deviation over seeds, test set. Δ: points against the dense network. "
    "MACs: multiply-accumulates of one picture. Latency: float32, median; ∼: spread above 10 %. ×: ratio to dense."
)

_SYMBOLS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    '"': r"\textquotedbl{}",
    **{character: f"\\{character}" for character in "{}$&#_%"},
    **{character: f"{{{character}}}" for character in "[]*"},  # behind a line's end they would be read as options
    "–": r"\textendash{}",
    "−": r"\ensuremath{-}",
    "∼": r"\ensuremath{\sim}",
    "…": r"\ldots{}",
    "µ": r"\ensuremath{\mu}",
    "μ": r"\ensuremath{\mu}",
    "γ": r"\ensuremath{\gamma}",
    "λ": r"\ensuremath{\lambda}",
    "Δ": r"\ensuremath{\Delta}",
    "±": r"\ensuremath{\pm}",
    "×": r"\ensuremath{\times}",
}


def to_latex(report: Report) -> str:
    """A `table*` per table, never wider than the page; what the rows say stands below as comments."""
    return HEAD + "".join(f"\n{_table(table, number)}" for number, table in enumerate(to_tables(report), start=1))


def escape(text: str) -> str:
    """Any text as text, on one line: LaTeX runs none of it and has a glyph for all of it."""
    letters = "".join(map(_letter, " ".join(printable(text).split())))
    return re.sub("-(?=-)", "-{}", letters)  # two are no dash


def _letter(character: str) -> str:
    if character in _SYMBOLS:
        return _SYMBOLS[character]
    if character.isascii() or "À" <= character <= "ÿ":  # the letters of Latin-1, which T1 has
        return character
    plain = "".join(one for one in unicodedata.normalize("NFKD", character) if not unicodedata.combining(one))
    return "".join(_SYMBOLS.get(one, one) for one in plain) if plain.isascii() else f"(U+{ord(character):04X})"


def _table(table: Table, number: int) -> str:
    shown = [index for index, column in enumerate(table.columns) if column not in LEFT_OUT]
    same = {index: table.rows[0][index] for index in shown if _says_nothing(table, index)}
    shown = [index for index in shown if index not in same]
    words = [index for index in shown if index < table.text_columns]
    caption = ". ".join([table.title, *(f"{table.columns[index]}: {cell}" for index, cell in same.items())])
    note = SHORT if number == 1 else table.notes[0]
    lines = [
        r"\begin{table*}",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{escape(caption)}. {escape(note)}}}",
        rf"\label{{tab:namprune-{number}}}",
        r"\begin{adjustbox}{max width=\textwidth}",
        rf"\begin{{tabular}}{{{'l' * len(words)}{'r' * (len(shown) - len(words))}}}",
        r"\toprule",
        _line(escape(table.columns[index]) for index in shown),
        r"\midrule",
        *(
            _line(escape(row[index]) if index in words else _number(row[index]) for index in shown)
            for row in table.rows
        ),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{adjustbox}",
        r"\end{table*}",
        *(f"% {' '.join(printable(note).split())}" for note in table.notes),
    ]
    return "\n".join(lines) + "\n"


def _says_nothing(table: Table, index: int) -> bool:
    """Whether a column of words is the same in every row: it goes into the caption."""
    return index < table.text_columns and len(table.rows) > 1 and len({row[index] for row in table.rows}) == 1


def _line(cells: Iterator[str]) -> str:
    return " & ".join(cells) + r" \\"


def _number(cell: str) -> str:
    """A cell of ours: minus, times and about as signs."""
    return escape(re.sub(r"(?<=\d)x", "×", cell).replace("-", "−").replace("~", "∼"))
