"""How train and prune present the run that they made."""

import dataclasses
from pathlib import Path

from namprune import console
from namprune.result import Measurement, RunResult, Timing
from namprune.table import MISSING, Table, counted, duration, percent, quantity, times


def show_outcome(result: RunResult, *, runs: Path, as_json: bool) -> None:
    """The run's numbers on stdout, stage by stage."""
    if as_json:
        console.print_json({"path": str(runs / result.name), **dataclasses.asdict(result)})
        return
    console.show(stages_table(result, title=f"{runs / result.name}: {result.model} on {result.data}"))
    if result.epochs:
        speed = f"{result.images_per_second:,.0f} pictures/s"
        console.message(f"{counted(result.epochs, 'epoch')} at {speed}, {duration(result.seconds)} in all")


def stages_table(result: RunResult, *, title: str) -> Table:
    """Accuracy and cost at each stage, and what the network takes on this device beside its parent."""
    rows = tuple(_stage(stage) for stage in result.stages)
    timings = tuple(
        f"latency, batch {timing.network.batch}: {quantity(timing.network.median, 's')}" + _beside_dense(timing)
        for timing in result.latency
    )
    columns = ("Stage", "Test top-1 %", "Val top-1 %", "MACs", "Params", "Bytes")
    return Table(title, columns=columns, rows=rows, notes=timings)


def _beside_dense(timing: Timing) -> str:
    if timing.dense is None:
        return ""
    ratio = timing.network.median / timing.dense.median
    return f", {times(ratio)} of dense ({quantity(timing.dense.median, 's')})"


def _stage(stage: Measurement) -> tuple[str, ...]:
    cost = stage.complexity
    return (
        stage.stage,
        percent(stage.test.top1) if stage.test else MISSING,
        percent(stage.val.top1),
        quantity(cost.macs),
        quantity(cost.params),
        quantity(cost.bytes, "B"),
    )
