"""namprune evaluate: the accuracy of a run's network, measured again."""

import dataclasses
from typing import Annotated, Literal

import typer

from namprune import console
from namprune.cli.options import RUNS, AsJson, DataRoot, Device, Runs
from namprune.cli.overrides import resolve
from namprune.runs import RunStore
from namprune.table import Table, percent


def evaluate_command(
    run: Annotated[str, typer.Argument(help="Name of the run.")],
    *,
    split: Annotated[Literal["test", "val"], typer.Option(help="Which pictures.")] = "test",
    data: DataRoot = None,
    device: Device = None,
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Measure the accuracy of a run's network."""
    folder = RunStore(runs).open(run)
    recipe = resolve(str(folder.recipe), sets=None, options={"--data": data, "--device": device})
    from namprune.stages.evaluate import evaluate

    found = evaluate(folder, recipe, split=split)
    if as_json:
        console.print_json({"run": folder.name, "split": split, **dataclasses.asdict(found)})
        return
    cells = (
        folder.name,
        split,
        percent(found.top1),
        percent(found.top5),
        f"{found.loss:.4f}",
        f"{found.images:,}",
    )
    columns = ("Run", "Split", "Top-1 %", "Top-5 %", "Loss", "Pictures")
    console.show(Table("Accuracy", columns=columns, rows=(cells,), text_columns=2))
