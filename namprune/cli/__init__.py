"""The command line: parses, calls one stage, prints its result. Torch is loaded inside commands."""

import io
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from namprune import console, signals
from namprune.cli import launch
from namprune.cli.bench import bench_command
from namprune.cli.compare import compare_command
from namprune.cli.evaluate import evaluate_command
from namprune.cli.explain import explain_command
from namprune.cli.export import export_command
from namprune.cli.predict import predict_command
from namprune.cli.prune import prune_command
from namprune.cli.recipes import recipes_app
from namprune.cli.report import report_command
from namprune.cli.runs import runs_app
from namprune.cli.sensitivity import sensitivity_command
from namprune.cli.train import train_command
from namprune.errors import NampruneError, UserError


class _Commands(TyperGroup):
    """Typer ends every KeyboardInterrupt with 130: a signal has a code of its own."""

    def invoke(self, context: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(context)
        except signals.Interrupted as interrupted:
            raise typer.Exit(interrupted.exit_code) from interrupted


app = typer.Typer(cls=_Commands, no_args_is_help=True, pretty_exceptions_enable=False)
app.command("train")(train_command)
app.command("prune")(prune_command)
app.command("compare")(compare_command)
app.command("sensitivity")(sensitivity_command)
app.command("evaluate")(evaluate_command)
app.command("explain")(explain_command)
app.command("export")(export_command)
app.command("bench")(bench_command)
app.command("predict")(predict_command)
app.command("report")(report_command)
app.add_typer(runs_app, name="runs")
app.add_typer(recipes_app, name="recipes")


def _show_version(asked: bool) -> None:
    if asked:
        console.output(f"namprune {version('namprune')}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    *,
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
) -> None:
    """Train, prune and prove smaller CNNs, with NAM attention as the compression signal."""
    if launch.members() > 1 and context.invoked_subcommand != "train":
        raise UserError(
            f"{context.invoked_subcommand}: torchrun has started {launch.members()} processes, and this takes one",
            hint="only `namprune train` is spread over devices: start this without torchrun",
        )


def main() -> None:
    """Run the command line.

    Exit codes: 0, 2 (the user's fault), 1 (ours); ended by a signal: 130 (SIGINT), 143 (SIGTERM), 0 (SIGUSR1).
    """
    _prepare_streams()
    try:
        try:
            silent = launch.silent()
            with signals.graceful(silent=silent), console.quiet(on=silent):
                app()
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader left
        _drop_stdout()
        sys.exit(1)
    except Exception as error:
        fault = _in_words(error)
        if not launch.left_to_launcher(fault):
            if not isinstance(fault, NampruneError):
                raise
            console.error(fault)
        sys.exit(getattr(fault, "exit_code", 1))


def _in_words(error: Exception) -> Exception:
    """What is the machine's fault, not ours, as one line."""
    if isinstance(error, OSError):
        _drop_stdout()
        return NampruneError(f"the system refused: {error}", hint="free the place that it names")
    if isinstance(error, RuntimeError) and "out of memory" in str(error):
        return NampruneError("the device is out of memory", hint="lower train.batch_size or model.width")
    return error


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
