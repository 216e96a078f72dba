"""The command line: parses, calls one stage, prints its result. Torch is loaded inside commands."""

import io
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from namprune import console
from namprune.cli.compare import compare_command
from namprune.cli.evaluate import evaluate_command
from namprune.cli.explain import explain_command
from namprune.cli.prune import prune_command
from namprune.cli.recipes import recipes_app
from namprune.cli.report import report_command
from namprune.cli.runs import runs_app
from namprune.cli.sensitivity import sensitivity_command
from namprune.cli.train import train_command
from namprune.errors import NampruneError

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
app.command("train")(train_command)
app.command("prune")(prune_command)
app.command("compare")(compare_command)
app.command("sensitivity")(sensitivity_command)
app.command("evaluate")(evaluate_command)
app.command("explain")(explain_command)
app.command("report")(report_command)
app.add_typer(runs_app, name="runs")
app.add_typer(recipes_app, name="recipes")


def _show_version(asked: bool) -> None:
    if asked:
        console.output(f"namprune {version('namprune')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
) -> None:
    """Train, prune and prove smaller CNNs, with NAM attention as the compression signal."""


def main() -> None:
    """Run the command line. Exit codes: 0, 2 (the user's fault), 1 (ours), 130 (interrupted)."""
    _prepare_streams()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except NampruneError as error:
        console.error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader left
        _drop_stdout()
        sys.exit(1)
    except OSError as error:
        _drop_stdout()
        console.error(NampruneError(f"the system refused: {error}", hint="free the place that it names"))
        sys.exit(1)
    except RuntimeError as error:
        if "out of memory" not in str(error):
            raise
        console.error(NampruneError("the device is out of memory", hint="lower train.batch_size or model.width"))
        sys.exit(1)


def _prepare_streams() -> None:
    """A closed stream is nobody listening, and a terminal without ± is no reason to fail."""
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open until the end
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_stdout() -> None:
    """What remains in the buffer must not complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
