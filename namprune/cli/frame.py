"""The classes of all commands: the options that each one has, and a help that fits a screen and ends with examples."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from namprune import console, signals
from namprune.cli.examples import epilog_of
from namprune.cli.manner import manner
from namprune.cli.mistyped import words_of
from namprune.cli.options import OUTPUT

COMPLETION = {
    "--install-completion": "Have the shell complete names at the Tab key.",
    "--show-completion": "Print what that would install.",
}


def _with_manner(params: list[Any] | None) -> list[Any]:
    """A command's own options and these, without names of types where there is nothing to fill in."""
    every = [*(params or ()), *manner()]
    for param in every:
        if isinstance(param, TyperOption) and param.is_flag and param.metavar is None:
            param.metavar = ""
        if isinstance(param, TyperArgument):
            vars(param)["display_type_rich"] = _nothing  # typer has no setting for it
    return every


def _nothing(ctx: Any) -> None:
    """An argument's type, which its help says better."""


class Command(TyperCommand):
    """A command of namprune."""

    def __init__(self, *args: Any, params: list[Any] | None = None, **options: Any) -> None:
        super().__init__(*args, params=_with_manner(params), **options)

    def format_help(self, context: Any, formatter: Any) -> None:
        """As namprune words it."""
        with _worded(self, context):
            super().format_help(context, formatter)


class Group(TyperGroup):
    """A command that has commands below it."""

    def __init__(self, *args: Any, params: list[Any] | None = None, **options: Any) -> None:
        super().__init__(*args, params=_with_manner(params), **options)

    def format_help(self, context: Any, formatter: Any) -> None:
        """As namprune words it."""
        with _worded(self, context):
            super().format_help(context, formatter)


class Root(Group):
    """namprune itself."""

    def get_params(self, context: Any) -> list[Any]:
        """Typer's own two about the shell stand with the others, in fewer words."""
        params: list[Any] = super().get_params(context)
        for param in params:
            if what := COMPLETION.get(param.opts[0]):
                param.rich_help_panel, param.help, param.metavar = OUTPUT, what, ""
        return params

    def main(self, *args: Any, **options: Any) -> Any:
        """Alone, what the command line asked for ends with it; else its caller may have a fault to tell."""
        try:
            return super().main(*args, **options)
        finally:
            if options.get("standalone_mode", True):
                console.reset()

    def invoke(self, context: Any) -> Any:
        """Typer ends every KeyboardInterrupt with 130: a signal has a code of its own."""
        try:
            return super().invoke(context)
        except signals.Interrupted as interrupted:
            console.detail(f"ended by {interrupted.name}")
            raise typer.Exit(interrupted.exit_code) from interrupted


@contextmanager
def _worded(command: Command | Group, context: Any) -> Iterator[None]:
    """With examples below, without the option of the help itself: whoever reads it has found that.

    Typer gives the `--no-...` of a flag a column of its own, which takes the place of the words: it is left out, too.
    """
    command.epilog = epilog_of(words_of(context))
    if option := command.get_help_option(context):
        option.hidden = True
    hidden = {param.name: param.secondary_opts for param in command.params}
    for param in command.params:
        param.secondary_opts = []
    try:
        yield
    finally:
        for param in command.params:
            param.secondary_opts = hidden[param.name]
