"""namprune explain: where a run's network looks in pictures, beside its dense ancestor."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from namprune import console
from namprune.cli.options import RUNS, AsJson, Device, Runs
from namprune.cli.overrides import resolve
from namprune.runs import RunStore


def explain_command(
    run: Annotated[str, typer.Argument(help="Name of the run.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Picture files.")],
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the overlays.")] = Path(),
    target: Annotated[
        str | None, typer.Option("--class", metavar="NAME", help="Class to explain; default: the dense prediction.")
    ] = None,
    device: Device = None,
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Draw what a run's network and its dense ancestor look at in pictures (Grad-CAM), side by side."""
    store = RunStore(runs)
    folder = store.open(run)
    recipe = resolve(str(folder.recipe), sets=None, options={"--device": device})
    from namprune.cam import to_table
    from namprune.stages.explain import explain

    explained = explain(folder, recipe, images, store=store, out=out, target=target)
    if as_json:
        console.print_json({"run": folder.name, "images": [dataclasses.asdict(one) for one in explained]})
        return
    console.show(to_table(explained, title=f"What {folder.name} looks at"))
