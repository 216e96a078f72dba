"""Bars of work in steps: on a terminal they move, elsewhere a line every half minute says how far it is."""

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.text import Text

from namprune.console.messages import hushed, message, stderr
from namprune.console.text import one_line
from namprune.table import duration

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID
    from rich.table import Table as RichTable

EVERY = 30.0
"""Seconds between two lines where there is no terminal."""


LATE = 0.5
"""Seconds that a bar must last to be shown, where short ones come and go."""


class Progress(Protocol):
    """A bar that moves."""

    def advance(self, n: int = 1, *, note: str = "") -> None:
        """Count `n` more steps; `note` stands beside the bar, an empty one leaves the last."""
        ...


class _Silent:
    """Where nobody watches."""

    def advance(self, n: int = 1, *, note: str = "") -> None:
        """Nothing to draw."""


class _Bar:
    """On a terminal."""

    def __init__(self, bars: "RichProgress", task: "TaskID") -> None:
        self._bars = bars
        self._task = task

    def advance(self, n: int = 1, *, note: str = "") -> None:
        """Move on."""
        if note:
            self._bars.update(self._task, note=one_line(note))
        self._bars.advance(self._task, n)


class _Works:
    """At hand in one thread, which others may help it with."""

    def __init__(self) -> None:
        self.lines: list[_Line] = []
        self.said = 0.0


class _Line:
    """In a pipe or a file: one line of all the works at hand, from the outermost to the innermost."""

    def __init__(self, total: int | None, description: str, works: _Works) -> None:
        self.works = works
        self.total = total
        self.description = one_line(description)
        self.done = 0
        self._first: tuple[float, int] | None = None  # a resumed work is far in at its first step

    def advance(self, n: int = 1, *, note: str = "") -> None:  # noqa: ARG002 - notes change too often for lines
        """Count, and say so when it is time."""
        self.done += n
        now = time.monotonic()
        self._first = self._first or (now, self.done)
        if now - self.works.said >= EVERY:
            self.works.said = now
            message(f"{', in '.join(map(str, reversed(self.works.lines)))}{self._left(now)}")

    def __str__(self) -> str:
        return self.description + (f" {self.done}/{self.total}" if self.total else "")

    def _left(self, now: float) -> str:
        begun, done = self._first or (now, 0)
        if self.total is None or self.done <= done or self.done >= self.total:
            return ""
        return f", {duration((now - begun) / (self.done - done) * (self.total - self.done))} left"


class _Here(threading.local):
    """Each thread has its own."""

    def __init__(self) -> None:
        self.works = _Works()


_here = _Here()


class _Screen:
    """The one display of this process, for as long as any of its threads has a bar."""

    bars: "RichProgress | None" = None
    users = 0
    begin: threading.Timer | None = None
    lock = threading.Lock()


@contextmanager
def progress(total: int | None, description: str, *, late: bool = False) -> Iterator[Progress]:
    """A bar of `total` steps on stderr with note, count and time left; one inside another stands below it.

    A `late` one is shown once it has lasted a moment, and so is one inside another, or of a total that nobody knows.

    Where stderr is no terminal, a line at most every 30 seconds; nothing where only errors and results are shown.
    """
    console = stderr()
    if hushed():
        yield _Silent()
    elif console.is_terminal and sys.stderr.isatty() and not console.is_dumb_terminal:
        late = late or total is None or _Screen.bars is not None
        with _display(late=late) as bars:
            task = bars.add_task(one_line(description), total=total, note="", late=late)
            try:
                yield _Bar(bars, task)
            finally:
                bars.remove_task(task)
    else:
        yield from _told(_Line(total, description, _here.works))


def _told(line: _Line) -> Iterator[Progress]:
    works = line.works
    if not works.lines:
        works.said = time.monotonic()
    works.lines.append(line)
    try:
        yield line
    finally:
        works.lines.remove(line)


@contextmanager
def _display(*, late: bool) -> Iterator["RichProgress"]:
    """The one that is there, or a new one; who leaves last ends it.

    A `late` one is not begun before it is to be seen: that takes as long as many a work that it would be for.
    """
    with _Screen.lock:
        if _Screen.bars is None:
            _Screen.bars = _bars()
            _Screen.begin = threading.Timer(LATE, _begin, (_Screen.bars,))
            _Screen.begin.daemon = True
            _Screen.begin.start()
        bars = _Screen.bars
        _Screen.users += 1
    try:
        if not late:
            _begin(bars)
        yield bars
    finally:
        with _Screen.lock:
            _Screen.users -= 1
            if not _Screen.users:
                _Screen.bars = None
                if _Screen.begin is not None:
                    _Screen.begin.cancel()
                bars.stop()


def _begin(bars: "RichProgress") -> None:
    """Draw, if it is not over."""
    with _Screen.lock:
        if _Screen.bars is bars:
            bars.start()


def _bars() -> "RichProgress":
    from rich.progress import BarColumn, MofNCompleteColumn, Task, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    class Bars(RichProgress):
        def make_tasks_table(self, tasks: Iterable[Task]) -> "RichTable":
            """Those that are not over in a moment."""
            return super().make_tasks_table(
                [one for one in tasks if not one.fields["late"] or (one.elapsed or 0) > LATE]
            )

    class Count(MofNCompleteColumn):
        def render(self, task: Task) -> Text:
            """Nothing where nobody knows how many there are."""
            return Text() if task.total is None else super().render(task)

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        Count(),
        TextColumn("{task.fields[note]}", markup=False),
        TimeRemainingColumn(),
    )
    # what is printed is the result: it passes the bars by, unless it would be drawn over
    # four times a second: what is timed under a bar pays for its drawing
    return Bars(*columns, console=stderr(), transient=True, refresh_per_second=4, redirect_stdout=sys.stdout.isatty())
