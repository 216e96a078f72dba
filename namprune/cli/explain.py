"""namprune explain: where a run's network looks in pictures, beside its dense ancestor."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from namprune import console
from namprune.cli.next import suggest_for
from namprune.cli.options import RUNS, AsJson, Device, RunName, Runs
from namprune.cli.overrides import resolve
from namprune.runs import RunStore


def explain_command(
    run: RunName,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Picture files.")],
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the overlays.")] = Path(),
    target: Annotated[
        str | None, typer.Option("--class", metavar="NAME", help="Class to explain, else the dense prediction.")
    ] = None,
    device: Device = None,
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Draw where a network looks, before and after the cut (Grad-CAM)."""
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
    suggest_for(folder, store=store)
