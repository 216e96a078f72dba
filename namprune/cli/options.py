"""Options that several commands share, and the panels that group options in a command's help."""

from pathlib import Path
from typing import Annotated, get_args

import typer

from namprune.choices import CriterionName, Precision, TrackerName
from namprune.cli import complete

CUT = "How much, and which channels"
OUTPUT = "Machine and output"

AsJson = Annotated[
    bool, typer.Option("--json", rich_help_panel=OUTPUT, help="One JSON object on stdout, all else on stderr.")
]
Runs = Annotated[Path, typer.Option("--runs", metavar="DIR", rich_help_panel=OUTPUT, help="Folder of the runs.")]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", autocompletion=complete.keys, help="Any recipe key: train.epochs=3. Repeatable."
    ),
]
DataRoot = Annotated[str | None, typer.Option("--data", metavar="DIR", help="Folder with the pictures.")]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        autocompletion=complete.devices,
        rich_help_panel=OUTPUT,
        help="auto, cpu, mps, cuda or cuda:N.",
    ),
]
PrecisionName = Annotated[
    Precision | None,
    typer.Option(
        "--precision", metavar="NAME", rich_help_panel=OUTPUT, help="auto (bf16 on CUDA, else fp32), fp32 or bf16."
    ),
]
Deterministic = Annotated[
    bool | None,
    typer.Option("--deterministic/--no-deterministic", rich_help_panel=OUTPUT, help="Repeat to the bit; or --no-..."),
]
Track = Annotated[
    TrackerName | None,
    typer.Option("--track", metavar="NAME", rich_help_panel=OUTPUT, help="Tell mlflow of it, too."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Finish a run that was interrupted.")]
NewName = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Name of the new run.")]
RecipeName = Annotated[
    str | None,
    typer.Option("--recipe", metavar="NAME", autocompletion=complete.recipes, help="A shipped recipe, or a file."),
]
Criterion = Annotated[
    CriterionName | None,
    typer.Option("--criterion", metavar="NAME", rich_help_panel=CUT, help=f"{', '.join(get_args(CriterionName))}."),
]
RunName = Annotated[str, typer.Argument(metavar="RUN", autocompletion=complete.run_names, help="Name of the run.")]

RUNS = Path("runs")
"""Where runs are by default."""
