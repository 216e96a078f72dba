"""namprune predict: what a run's network takes pictures for."""

import dataclasses
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from namprune import console
from namprune.cli.next import suggest
from namprune.cli.options import RUNS, AsJson, Device, RunName, Runs
from namprune.cli.overrides import resolve
from namprune.runs import RunStore
from namprune.table import Table, percent


def predict_command(
    run: RunName,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Pictures; EXIF orientation is not applied."),
    ],
    *,
    top: Annotated[int, typer.Option(metavar="N", min=1, help="Classes to show.")] = 5,
    device: Device = None,
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Classify pictures with a run's network."""
    folder = RunStore(runs).open(run)
    recipe = resolve(str(folder.recipe), sets=None, options={"--device": device})
    from namprune.stages.predict import predict

    found = predict(folder, recipe, files, top=top)
    if as_json:
        console.print_json({"run": folder.name, "pictures": [dataclasses.asdict(one) for one in found]})
        return
    rows = tuple((one.file, *(f"{name} {percent(share)} %" for name, share in one.top)) for one in found)
    columns = ("File", *(f"Class {place + 1}" for place in range(len(found[0].top))))
    console.show(Table(f"What {folder.name} sees", columns=columns, rows=rows, text_columns=len(columns)))
    if find_spec("captum") is not None:
        suggest("explain", folder.name, *map(str, files), runs=runs)
