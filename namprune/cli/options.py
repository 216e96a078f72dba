"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, everything else on stderr.")]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", help="Folder that holds the runs.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe key, e.g. train.epochs=3. Repeatable."),
]
DataRoot = Annotated[str | None, typer.Option("--data", metavar="PATH", help="Folder with the pictures.")]
Device = Annotated[str | None, typer.Option("--device", help="auto, cpu, mps, cuda or cuda:N.")]
NewName = Annotated[str | None, typer.Option("--name", help="Name of the new run.")]

RUNS = Path("runs")
"""Where runs are by default."""
