"""namprune export: a run's network as a file for other programs."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from namprune import console
from namprune.cli.options import RUNS, AsJson, DataRoot, Runs
from namprune.cli.outcome import suggest
from namprune.cli.overrides import resolve
from namprune.result import Accuracy, Export, ExportFormat, Quantize, RunResult
from namprune.runs import RunStore
from namprune.table import Table, percent, quantity


def export_command(
    run: Annotated[str, typer.Argument(help="Name of the run.")],
    *,
    form: Annotated[ExportFormat, typer.Option("--format", help="What the other program reads.")] = "onnx",
    quantize: Annotated[
        Quantize, typer.Option(help="int8: weights and activations in 8 bits, calibrated on validation pictures.")
    ] = "none",
    preprocess: Annotated[
        bool, typer.Option("--preprocess", help="Normalize inside the network: it takes bytes, uint8 (N, H, W, C).")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Default: a file in the run's folder, under export/.")
    ] = None,
    data: DataRoot = None,
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Write a run's network as ONNX, a PyTorch program, OpenVINO or safetensors, run it again and compare."""
    folder = RunStore(runs).open(run)
    recipe = resolve(str(folder.recipe), sets=None, options={"--data": data})
    from namprune.stages.export import export_run

    file, export = export_run(folder, recipe, form=form, quantize=quantize, preprocess=preprocess, out=out)
    if as_json:
        console.print_json({"run": folder.name, "path": str(file), **dataclasses.asdict(export)})
        return
    console.show(_table(file, export, folder.result()))
    again = " --quantize int8" if form == "onnx" and quantize == "none" else ""
    suggest(f"export {folder.name}{again}" if again else f"bench {folder.name} --backend onnxruntime", runs=runs)


def _table(file: Path, export: Export, result: RunResult) -> Table:
    """The file, how it was checked and, of int8, its accuracy beside that of the run."""
    rows = [("file", str(file)), ("format", export.format), ("size", quantity(export.bytes, "B"))]
    if export.difference is not None:
        rows.append(("largest difference from torch", f"{export.difference:.2g} in a logit"))
    final = result.final
    for split, own, before in (("validation", export.val, final.val), ("test", export.test, final.test)):
        if own is not None:
            rows.append((f"{split} top-1 %, in onnxruntime", _beside(own, before)))
    return Table(f"Export of {result.name}", columns=("", ""), rows=tuple(rows), text_columns=2)


def _beside(own: Accuracy, before: Accuracy | None) -> str:
    if before is None:
        return percent(own.top1)
    return f"{percent(own.top1)}, {100 * (own.top1 - before.top1):+.2f} points from {percent(before.top1)} in float"
