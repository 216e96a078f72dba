"""namprune export: a run's network as a file for other programs."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from namprune import console
from namprune.cli.next import suggest
from namprune.cli.options import RUNS, AsJson, DataRoot, RunName, Runs
from namprune.cli.overrides import resolve
from namprune.result import Accuracy, Export, ExportFormat, Quantize, RunResult
from namprune.runs import RunStore
from namprune.table import Table, percent, quantity


def export_command(
    run: RunName,
    *,
    form: Annotated[
        ExportFormat, typer.Option("--format", metavar="NAME", help="onnx, torch, safetensors or openvino.")
    ] = "onnx",
    quantize: Annotated[
        Quantize, typer.Option(metavar="NAME", help="int8, calibrated on validation pictures, or none.")
    ] = "none",
    preprocess: Annotated[bool, typer.Option("--preprocess", help="Take bytes, uint8 (N, H, W, C).")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Else a file in the run's export/.")] = None,
    data: DataRoot = None,
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Write a network for other programs, run it again and compare."""
    folder = RunStore(runs).open(run)
    recipe = resolve(str(folder.recipe), sets=None, options={"--data": data})
    from namprune.stages.export import export_run

    file, export = export_run(folder, recipe, form=form, quantize=quantize, preprocess=preprocess, out=out)
    if as_json:
        console.print_json({"run": folder.name, "path": str(file), **dataclasses.asdict(export)})
        return
    console.show(_table(file, export, folder.result()))
    quantized = any(one.quantize == "int8" for one in folder.exports())
    if form == "onnx" and quantize == "none" and not quantized:
        suggest("export", folder.name, "--quantize", "int8", runs=runs)
    else:
        suggest("bench", folder.name, *(("--backend", "onnxruntime") if form == "onnx" else ()), runs=runs)


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
