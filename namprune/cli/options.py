"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from namprune.choices import Precision

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, everything else on stderr.")]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Folder that holds the runs.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe key, e.g. train.epochs=3. Repeatable."),
]
DataRoot = Annotated[str | None, typer.Option("--data", metavar="PATH", help="Folder with the pictures.")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, mps, cuda or cuda:N.")]
PrecisionName = Annotated[
    Precision | None, typer.Option("--precision", help="auto, fp32 or bf16; auto is bf16 on CUDA and else fp32.")
]
Deterministic = Annotated[
    bool | None,
    typer.Option(
        "--deterministic/--no-deterministic",
        help="Only algorithms that repeat to the bit on the device; prints what they cost.",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a run that was interrupted, where it was saved.")]
NewName = Annotated[str | None, typer.Option("--name", help="Name of the new run.")]

RUNS = Path("runs")
"""Where runs are by default."""
