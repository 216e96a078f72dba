"""What the page says in words and numbers: the tables with what they are sorted by, the verdicts, and each run."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from namprune.report.details import LayerWidth, SensitivityMap
from namprune.report.files import ShippedFile
from namprune.report.formats import CONVENTIONS, Report, to_tables
from namprune.report.palette import colour
from namprune.report.summary import Row, short
from namprune.report.verdict import Verdict
from namprune.result import Complexity, Cut, EpochRecord, Measurement, RunResult, Timing
from namprune.table import Table, counted, duration, minute, percent, quantity, times, worded

Facts = tuple[tuple[str, str], ...]

SHARED = 2
"""The first so many columns of the experiments are said once where all rows have the same in them."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell as the terminal has it, and the number that it is sorted by: None for words and for no number."""

    text: str
    key: float | None


@dataclass(frozen=True, kw_only=True)
class GridRow:
    """A row of a grid."""

    cells: tuple[Cell, ...]
    runs: tuple[str, ...]
    attention: str
    """Its name alone."""
    kind: str
    colour: str


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table that can be sorted and searched."""

    columns: tuple[str, ...]
    words: int
    """The first so many columns are words."""
    shared: Facts
    """What all rows have in common."""
    rows: tuple[GridRow, ...]
    note: str


def experiments(report: Report) -> Grid:
    """The rows of the report."""
    table, rows = to_tables(report)[0], report.rows
    common = [i for i in range(SHARED) if len(rows) > 1 and len({cells[i] for cells in table.rows}) == 1]
    stay = [i for i in range(len(table.columns)) if i not in common]
    batches = sorted({timed.batch for row in rows for timed in row.latency})
    keys = [(*[None] * table.text_columns, *_row_keys(row, batches)) for row in rows]
    return Grid(
        columns=tuple(table.columns[i] for i in stay),
        words=table.text_columns - len(common),
        shared=tuple((table.columns[i], table.rows[0][i]) for i in common),
        rows=tuple(
            GridRow(
                cells=tuple(Cell(text=cells[i], key=_finite(key[i])) for i in stay),
                runs=row.runs,
                attention=short(row.attention),
                kind=row.kind,
                colour=colour(short(row.attention)),
            )
            for row, cells, key in zip(rows, table.rows, keys, strict=True)
        ),
        note=CONVENTIONS,
    )


def shipped(report: Report) -> Grid | None:
    """The files, if anything was exported."""
    if not report.files:
        return None
    table = to_tables(report)[1]
    keys = [(*[None] * table.text_columns, *_file_keys(file)) for file in report.files]
    rows = tuple(
        GridRow(
            cells=tuple(Cell(text=text, key=_finite(key)) for text, key in zip(cells, own, strict=True)),
            runs=(file.run,),
            attention="",
            kind="",
            colour="",
        )
        for file, cells, own in zip(report.files, table.rows, keys, strict=True)
    )
    return Grid(columns=table.columns, words=table.text_columns, shared=(), rows=rows, note=table.notes[0])


def by_place(found: Sequence[Verdict]) -> Mapping[str, Sequence[Verdict]]:
    """The verdicts of each operating point together."""
    places: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in found:
        places[verdict.place].append(verdict)
    return places


def headline(result: RunResult) -> tuple[tuple[str, str, str], ...]:
    """What a run amounts to: names, values, and what belongs to each."""
    first, final = result.stages[0].complexity, result.final.complexity
    test, val = result.final.test, result.final.val
    ratios = [times(after / before) if after != before else "" for before, after in _costs(first, final)]
    return (
        ("Test top-1", f"{percent(test.top1 if test else None)} %", f"{test.images:,} pictures" if test else ""),
        ("Validation top-1", f"{percent(val.top1)} %", f"{val.images:,} pictures"),
        ("MACs", quantity(final.macs), ratios[0]),
        ("Parameters", quantity(final.params), ratios[1]),
        ("Weights", quantity(final.bytes, "B"), ratios[2]),
        *(_latency(timing) for timing in result.latency),
    )


def stage_table(stages: Sequence[Measurement]) -> Table:
    """The network at each stage of its run."""
    rows = tuple(
        (
            stage.stage,
            percent(stage.val.top1),
            f"{stage.val.loss:.4f}",
            percent(stage.test.top1 if stage.test else None),
            quantity(stage.complexity.macs),
            quantity(stage.complexity.params),
        )
        for stage in stages
    )
    return Table("Stages", columns=("Stage", "Val top-1 %", "Val loss", "Test top-1 %", "MACs", "Params"), rows=rows)


def cut_facts(cut: Cut) -> Facts:
    """What was asked of a cut, what it did, and the proof."""
    reached = ((f"Reached, {cut.target.key}", worded(cut.target.reached, cut.target.unit)),) if cut.target else ()
    return (
        ("Aim", cut.aim),
        *reached,
        ("Criterion", f"{cut.criterion} {cut.scope}"),
        ("Channels", f"{cut.channels_before} → {cut.channels_after}"),
        ("Near zero before", f"{percent(cut.near_zero)} %"),
        ("Near zero of what went", f"{percent(cut.near_zero_removed)} %"),
        ("Widths rounded to", str(cut.round_to)),
        ("Proof", f"logits within {cut.proof:.1e}"),
    )


def left_alone(cut: Cut) -> Mapping[str, Sequence[str]]:
    """The layers that were not cut, by the reason."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for layer, reason in cut.skipped.items():
        reasons[reason].append(layer)
    return reasons


def origin_facts(result: RunResult) -> Facts:
    """Where a run was made, of what, and when."""
    made = result.environment
    return (
        ("Finished", f"{minute(result.created)} UTC"),
        ("Took", f"{duration(result.seconds)} at {result.images_per_second:,.0f} pictures/s"),
        ("Seed", str(result.seed)),
        (
            "Machine",
            f"{made.device}, {counted(made.threads, 'thread')}" + f", {made.devices} devices" * (made.devices > 1),
        ),
        ("Versions", ", ".join(f"{name} {version}" for name, version in made.versions.items())),
        ("Python", made.python),
        ("Recipe digest", result.recipe_digest[:16]),
        ("Data digest", result.data_digest[:16]),
    )


def epoch_table(epochs: Sequence[EpochRecord]) -> Table:
    """What the curves are drawn from."""
    columns = (
        "Phase",
        "Epoch",
        "Loss",
        "Top-1 %",
        "Val loss",
        "Val top-1 %",
        "Learning rate",
        "Mean |γ|",
        "Outer deciles",
        "Near zero %",
    )
    rows = tuple(
        (
            "training" if record.phase == "train" else "fine-tuning",
            str(record.epoch),
            f"{record.loss:.4f}",
            percent(record.accuracy),
            f"{record.val.loss:.4f}",
            percent(record.val.top1),
            f"{record.lr:.3g}",
            f"{record.gamma.mean:.4f}" if record.gamma else "",
            f"{record.gamma.bottom_decile:.4f} to {record.gamma.top_decile:.4f}" if record.gamma else "",
            percent(record.gamma.near_zero) if record.gamma else "",
        )
        for record in epochs
    )
    return Table("Epochs", columns=columns, rows=rows)


def width_table(layers: Sequence[LayerWidth]) -> Table:
    """What the bars are drawn from."""
    rows = tuple((layer.layer, str(layer.before), str(layer.after)) for layer in layers)
    return Table("Widths", columns=("Layer", "Before", "After"), rows=rows)


def sensitivity_table(found: SensitivityMap) -> Table:
    """What the heat map is drawn from."""
    rows = (
        (layer, *(f"{points:.2f}" for points in lost)) for layer, lost in zip(found.layers, found.points, strict=True)
    )
    return Table("Sensitivity", columns=("Layer", *(f"{100 * r:g} %" for r in found.ratios)), rows=tuple(rows))


def _costs(first: Complexity, final: Complexity) -> tuple[tuple[int, int], ...]:
    return ((first.macs, final.macs), (first.params, final.params), (first.bytes, final.bytes))


def _latency(timing: Timing) -> tuple[str, str, str]:
    taken = timing.network
    ratio = f"{times(taken.median / timing.dense.median)}, " if timing.dense else ""
    return (
        f"Latency, batch {taken.batch}",
        quantity(taken.median, "s"),
        f"{ratio}IQR {100 * taken.iqr / taken.median:.0f} %",
    )


def _row_keys(row: Row, batches: Sequence[int]) -> tuple[float | None, ...]:
    seconds = {timed.batch: timed.seconds for timed in row.latency}
    return (len(row.seeds), row.top1, row.delta, row.macs, row.params, *map(seconds.get, batches), row.epochs)


def _file_keys(file: ShippedFile) -> tuple[float | None, ...]:
    return (file.bytes, file.difference, file.top1, file.delta_run, file.delta_dense)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
