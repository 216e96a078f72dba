"""namprune evaluate: the accuracy of a run's network, measured again."""

import dataclasses
from typing import Annotated, Literal

import typer

from namprune import console
from namprune.cli.next import suggest_for
from namprune.cli.options import RUNS, AsJson, DataRoot, Device, RunName, Runs
from namprune.cli.overrides import resolve
from namprune.runs import RunStore
from namprune.table import Table, percent


def evaluate_command(
    run: RunName,
    *,
    split: Annotated[Literal["test", "val"], typer.Option(metavar="NAME", help="test or val.")] = "test",
    data: DataRoot = None,
    device: Device = None,
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Measure the accuracy of a run's network."""
    store = RunStore(runs)
    folder = store.open(run)
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
    suggest_for(folder, store=store)
