"""The only module that prints: results to stdout, messages and progress to stderr."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, Protocol

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from namprune.errors import NampruneError
from namprune.table import Table

_quiet = ContextVar("quiet", default=False)


class Progress(Protocol):
    """A bar that moves."""

    def advance(self, n: int = 1, *, note: str = "") -> None:
        """Count `n` more steps; `note` stands beside the bar, an empty one leaves the last."""
        ...


class _Silent:
    """Where nobody watches."""

    def advance(self, n: int = 1, *, note: str = "") -> None:
        """Nothing to draw."""


@cache
def _stderr() -> Console:
    # one object for bar and messages, so that a message appears above the bar
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def message(text: str) -> None:
    """A line about what goes on."""
    if not _quiet.get():
        _say(Text(printable(text)))


def warn(text: str) -> None:
    """A line about what may surprise."""
    if not _quiet.get():
        _say(Text.assemble(("warning: ", "yellow"), printable(text)))


def announce(text: str) -> None:
    """A line that is shown where messages are dropped, too."""
    _say(Text(printable(text)))


def error(fault: NampruneError) -> None:
    """What went wrong and, where there is one, what to do."""
    _say(Text.assemble(("error: ", "bold red"), printable(fault.message)))
    if fault.hint:
        _say(Text.assemble(("hint: ", "cyan"), printable(fault.hint)))


def output(text: str) -> None:
    """Text that is itself the result, such as a recipe or a report, as it is."""
    sys.stdout.write(printable(text) if text.endswith("\n") else f"{printable(text)}\n")


def print_json(value: Any) -> None:
    """One JSON value on stdout; ASCII only, so that any terminal and any pipe takes it."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def show(table: Table) -> None:
    """A table on stdout, with its notes below; where stdout is no terminal, in lines as long as they need be."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=10_000)
    view = RichTable(box=box.SIMPLE, show_edge=False, pad_edge=False)
    for index, column in enumerate(table.columns):
        view.add_column(Text(_cell(column)), justify="left" if index < table.text_columns else "right", overflow="fold")
    for row in table.rows:
        view.add_row(*(Text(_cell(cell)) for cell in row))
    console.print(Text(_cell(table.title), style="bold"))
    console.print(view)
    for note in table.notes:
        console.print(Text(_cell(note), style="dim"), soft_wrap=True)


@contextmanager
def quiet(*, on: bool = True) -> Iterator[None]:
    """Drop the messages, warnings and bars of what runs inside; results and errors are shown."""
    token = _quiet.set(on or _quiet.get())
    try:
        yield
    finally:
        _quiet.reset(token)


@contextmanager
def progress(total: int, description: str) -> Iterator[Progress]:
    """A bar of `total` steps on stderr with note, count and time left; nothing where stderr is no terminal."""
    console = _stderr()
    if _quiet.get() or not console.is_terminal:
        yield _Silent()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(_cell(description), total=total, note="")

        class Bar:
            def advance(self, n: int = 1, *, note: str = "") -> None:
                if note:
                    bars.update(task, note=_cell(note))
                bars.advance(task, n)

        yield Bar()


def printable(text: str) -> str:
    """`text` with its control characters spelled out, so that a name cannot steer the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def _cell(text: str) -> str:
    return printable(text).replace("\n", " ").replace("\t", " ")


def _say(text: Text) -> None:
    _stderr().print(text, soft_wrap=True)
