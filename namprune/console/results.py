"""Results, on stdout."""

import sys
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table as RichTable
from rich.text import Text

from namprune.console.text import one_line, printable
from namprune.json_text import json_text
from namprune.table import Table


def output(text: str) -> None:
    """Text that is itself the result, such as a recipe or a report, as it is."""
    sys.stdout.write(printable(text) if text.endswith("\n") else f"{printable(text)}\n")


def print_json(value: Any) -> None:
    """One JSON value on stdout; ASCII only, so that any terminal and any pipe takes it."""
    sys.stdout.write(json_text(value, indent=2) + "\n")


def show(table: Table) -> None:
    """A table on stdout, with its notes below; where stdout is no terminal, in lines as long as they need be."""
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, emoji=False, width=10_000)
    view = RichTable(box=box.SIMPLE, show_edge=False, pad_edge=False)
    # what a row is about is there to be copied: the others give way first, down to a few characters and a gap
    room = console.width - 7 * (len(table.columns) - 1)
    whole = all(cell_len(one_line(row[0])) <= room for row in table.rows)
    for index, column in enumerate(table.columns):
        side: JustifyMethod = "left" if index < table.text_columns else "right"
        view.add_column(Text(one_line(column)), justify=side, overflow="fold", no_wrap=whole and index == 0)
    for row in table.rows:
        view.add_row(*(Text(one_line(cell)) for cell in row))
    console.print(Text(one_line(table.title), style="bold"))
    console.print(view)
    for note in table.notes:
        console.print(Text(one_line(note), style="dim"), soft_wrap=True)
