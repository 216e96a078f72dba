"""What goes on that is no bar of its own: a phase whose steps nobody can count, and a loop that somebody else runs."""

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from namprune.console.bars import progress
from namprune.console.messages import detail
from namprune.table import duration

Step = TypeVar("Step")

SHORT = 0.1
"""Seconds of a phase that are not worth a line."""


@contextmanager
def status(description: str) -> Iterator[None]:
    """A phase: on a terminal something moves while it lasts, and how long it took is a detail."""
    begun = time.monotonic()
    with progress(None, description):
        yield
    if (seconds := time.monotonic() - begun) > SHORT:
        detail(f"{description}: {duration(seconds)}")


@contextmanager
def watched(steps: Iterable[Step], total: int, description: str) -> Iterator[Iterator[Step]]:
    """The same steps, to be gone through within it, with a bar that moves when one is done."""
    with ExitStack() as stack:
        yield _counted(steps, total, description, stack)


def _counted(steps: Iterable[Step], total: int, description: str, stack: ExitStack) -> Iterator[Step]:
    """The bar is there from the first step on, up to the last or until the stack is closed."""
    bar = stack.enter_context(progress(total, description, late=True))
    for step in steps:
        yield step
        bar.advance()
    stack.close()
