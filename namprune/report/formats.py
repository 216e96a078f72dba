"""The report as table, Markdown, CSV and JSON. Numbers in JSON are raw, the others are for people."""

import csv
import dataclasses
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from namprune.json_text import json_text
from namprune.report.collect import Collection, Flawed
from namprune.report.files import ShippedFile, files_table, shipped_files
from namprune.report.summary import Row, summarise
from namprune.report.verdict import sentences
from namprune.table import MISSING, Table, percent, points, quantity, times

CONVENTIONS = (
    "Top-1: mean ± sample standard deviation over seeds, test set read once at the end. "
    "Δ: points against each run's own dense ancestor. "
    "MACs: multiply-accumulates of one picture, thop with BN folded. "
    "Latency: float32, median of interleaved blocks; ~ marks an inter-quartile range above 10 % of it. "
    "x: ratio to dense."
)

_TEXT_COLUMNS = 5


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is said of the runs."""

    rows: tuple[Row, ...]
    files: tuple[ShippedFile, ...]
    flawed: tuple[Flawed, ...]

    @classmethod
    def of(cls, collection: Collection) -> "Report":
        """All that there is to say."""
        return cls(rows=summarise(collection), files=shipped_files(collection), flawed=collection.flawed)


def to_tables(report: Report) -> tuple[Table, ...]:
    """One line per experiment, with what they say of NAM and what cannot be reported in the notes; and if anything
    was exported, one per file."""
    return (_trade_off(report), *([files_table(report.files)] if report.files else []))


def _trade_off(report: Report) -> Table:
    rows = report.rows
    batches = sorted({timed.batch for row in rows for timed in row.latency})
    timings = tuple(f"Latency b{batch}" for batch in batches)
    return Table(
        "Accuracy against cost",
        columns=(
            "Data",
            "Model",
            "Attention",
            "Cut",
            "Run",
            "Seeds",
            "Top-1 %",
            "Δ",
            "MACs",
            "Params",
            *timings,
            "Epochs",
        ),
        rows=tuple(_cells(row, batches) for row in rows),
        text_columns=_TEXT_COLUMNS,
        notes=(CONVENTIONS, *sentences(rows), *(run.reason for run in report.flawed)),
    )


def to_markdown(report: Report) -> str:
    """GitHub tables, each with its notes below it, a paragraph each."""
    return "\n".join(map(_markdown_table, to_tables(report)))


def to_csv(report: Report) -> str:
    """The cells of the experiments and the names of their runs; one that cannot be reported has a row with the reason.

    Files are left out: they have other columns.
    """
    table = _trade_off(report)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*table.columns, "Runs", "State", "Reason"])
    for row, cells in zip(report.rows, table.rows, strict=True):
        names = [_escape_formula(cell) for cell in cells[:_TEXT_COLUMNS]]
        writer.writerow([*names, *cells[_TEXT_COLUMNS:], _escape_formula(" ".join(row.runs)), "finished", ""])
    for run in report.flawed:
        writer.writerow([*[""] * len(table.columns), _escape_formula(run.name), run.state, run.reason])
    return buffer.getvalue()


def to_json(report: Report) -> str:
    """One object: the conventions, the rows with raw numbers, the sentences, the files of what was exported, and the
    runs that cannot be reported."""
    tree = {
        "conventions": CONVENTIONS,
        "rows": [dataclasses.asdict(row) for row in report.rows],
        "sentences": sentences(report.rows),
        "exports": [dataclasses.asdict(file) for file in report.files],
        "flawed": [dataclasses.asdict(run) for run in report.flawed],
    }
    return json_text(tree, indent=2) + "\n"


def _cells(row: Row, batches: Sequence[int]) -> tuple[str, ...]:
    timed = {entry.batch: entry for entry in row.latency}
    return (
        row.data,
        row.model,
        row.attention,
        row.point,
        row.runs[0] if len(row.runs) == 1 else f"{row.runs[0]} +{len(row.runs) - 1}",
        str(len(row.seeds)),
        percent(row.top1, spread=row.top1_spread),
        points(row.delta),
        _with_ratio(quantity(row.macs), row.macs_ratio),
        _with_ratio(quantity(row.params), row.params_ratio),
        *(
            _with_ratio(("~" if entry.noisy else "") + quantity(entry.seconds, "s"), entry.ratio)
            if (entry := timed.get(batch))
            else MISSING
            for batch in batches
        ),
        str(row.epochs),
    )


def _with_ratio(cell: str, ratio: float | None) -> str:
    return cell if ratio is None else f"{cell} ({times(ratio)})"


def _markdown_table(table: Table) -> str:
    rules = ["---" if index < table.text_columns else "---:" for index in range(len(table.columns))]
    lines = [_markdown_row(table.columns), _markdown_row(rules)]
    lines += [_markdown_row([_escape_markdown(cell) for cell in row]) for row in table.rows]
    notes = [line for note in table.notes for line in ("", _escape_markdown(note))]
    return "\n".join([*lines, *notes]) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape_markdown(text: str) -> str:
    """Names stay text: no second column, no new line, no HTML, no emphasis or link."""
    flat = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\|`*\[\]])", r"\\\1", flat)


def _escape_formula(text: str) -> str:
    """A name that a spreadsheet would take for a formula, made text."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
