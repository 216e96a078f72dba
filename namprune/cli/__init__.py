"""The command line: parses, calls one stage, prints its result. Torch is loaded inside commands."""

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

from namprune import console, signals
from namprune.cli import launch
from namprune.cli.bench import bench_command
from namprune.cli.compare import compare_command
from namprune.cli.doctor import doctor_command
from namprune.cli.evaluate import evaluate_command
from namprune.cli.explain import explain_command
from namprune.cli.export import export_command
from namprune.cli.frame import Command, Group, Root
from namprune.cli.init import init_command
from namprune.cli.mistyped import in_words
from namprune.cli.options import OUTPUT
from namprune.cli.predict import predict_command
from namprune.cli.prune import prune_command
from namprune.cli.recipes import recipes_app
from namprune.cli.report import report_command
from namprune.cli.runs import runs_app
from namprune.cli.sensitivity import sensitivity_command
from namprune.cli.start import show_start
from namprune.cli.train import train_command
from namprune.errors import NampruneError, UserError

COMMANDS: dict[str, dict[str, Callable[..., None] | typer.Typer]] = {
    "Train": {"train": train_command, "compare": compare_command},
    "Shrink": {"prune": prune_command, "sensitivity": sensitivity_command},
    "Look": {
        "report": report_command,
        "runs": runs_app,
        "evaluate": evaluate_command,
        "explain": explain_command,
        "predict": predict_command,
    },
    "Ship": {"export": export_command, "bench": bench_command},
    "Set up": {"recipes": recipes_app, "init": init_command, "doctor": doctor_command},
}
"""By what a person does."""

app = typer.Typer(cls=Root, invoke_without_command=True, pretty_exceptions_enable=False)
for panel, commands in COMMANDS.items():
    for name, command in commands.items():
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, cls=Group, rich_help_panel=panel)
        else:
            app.command(name, cls=Command, rich_help_panel=panel)(command)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        console.output(f"namprune {version('namprune')}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_show_version, rich_help_panel=OUTPUT, help="Show the version."
        ),
    ] = False,
) -> None:
    """Train, prune and prove smaller CNNs, with NAM attention as the compression signal."""
    if launch.members() > 1 and context.invoked_subcommand != "train":
        raise UserError(
            f"{context.invoked_subcommand}: torchrun has started {launch.members()} processes, and this takes one",
            hint="only `namprune train` is spread over devices: start this without torchrun",
        )
    if context.invoked_subcommand is None:
        show_start()


def main() -> None:
    """Run the command line.

    Exit codes: 0, 2 (the user's fault), 1 (ours); ended by a signal: 130 (SIGINT), 143 (SIGTERM), 0 (SIGUSR1).
    """
    _prepare_streams()
    try:
        try:
            silent = launch.silent()
            with (
                signals.graceful(silent=silent, again=launch.members() == 1),
                console.quiet(on=silent),
                signals.at_once(),  # but where there is something to save
            ):
                code = app(standalone_mode=False)
        finally:
            sys.stdout.flush()
        sys.exit(code)
    except KeyboardInterrupt as interrupt:  # before or after the command itself
        sys.exit(getattr(interrupt, "exit_code", 130))
    except BrokenPipeError:  # the reader left
        _drop_stdout()
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - this is the last door
        fault = _in_words(error)
        if not launch.left_to_launcher(fault):
            if not isinstance(fault, UserError):
                console.trace(error)
            console.error(fault if isinstance(fault, NampruneError) else _ours(fault))
        sys.exit(getattr(fault, "exit_code", 1))
    finally:
        console.reset()


_NO_MEMORY = ("out of memory", "can't allocate memory")
"""What PyTorch says on a GPU and on a CPU."""


def _in_words(error: Exception) -> Exception:
    """What is the machine's fault, or that of the command line, as one line."""
    if isinstance(error, TyperException):
        return in_words(error)
    if isinstance(error, OSError):
        _drop_stdout()
        return NampruneError(f"the system refused: {error}", hint="free the place that it names")
    if isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY):
        return NampruneError("the device is out of memory", hint="lower train.batch_size or model.width")
    return error


def _ours(error: Exception) -> NampruneError:
    told = f"{type(error).__name__}: {error}".rstrip(": ")
    return NampruneError(
        f"a fault of namprune itself: {told}", hint="the same with --verbose shows where; please report it"
    )


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
