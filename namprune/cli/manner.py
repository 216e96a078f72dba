"""--quiet, --verbose and --log-file: options that every command has, before or after its name."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from namprune import console
from namprune.cli import launch
from namprune.cli.options import OUTPUT


def _quiet(context: typer.Context, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        console.speak(quiet=True)


def _verbose(context: typer.Context, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        console.speak(verbose=True)


def _log_file(context: typer.Context, file: Path | None) -> None:
    """Of several processes that work together the first one writes."""
    if file is not None and not context.resilient_parsing and not launch.silent():
        from importlib.metadata import version

        console.speak(log_file=file)
        console.detail(f"namprune {version('namprune')}: {shlex.join(sys.argv[1:])}")


_app = typer.Typer(add_completion=False)


@_app.command()
def _manner(
    *,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            callback=_quiet,
            expose_value=False,
            rich_help_panel=OUTPUT,
            help="Results and errors only.",
        ),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            callback=_verbose,
            expose_value=False,
            rich_help_panel=OUTPUT,
            help="Details, and where a fault of ours came from.",
        ),
    ] = False,
    log_file: Annotated[
        Path | None,
        typer.Option(
            "--log-file",
            callback=_log_file,
            expose_value=False,
            metavar="FILE",
            rich_help_panel=OUTPUT,
            help="Append all of stderr, and details, with times.",
        ),
    ] = None,
) -> None:
    """Only its options are taken."""


def manner() -> list[Any]:
    """The three, as parameters of a command; what they ask for is heard as they are parsed."""
    return list(typer.main.get_command(_app).params)
