"""What is said on stderr, how much of it is heard, and all of it in the log file."""

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

from rich.console import Console
from rich.text import Text

from namprune.console.logfile import close_log, log, open_log
from namprune.console.text import printable
from namprune.errors import NampruneError, UserError

_quiet = ContextVar("quiet", default=False)


class _Manner:
    """Of this process, as its command line says."""

    quiet = False
    verbose = False


def speak(*, quiet: bool = False, verbose: bool = False, log_file: Path | None = None) -> None:
    """What is asked for here is so until `reset`: errors and results only; details; a log file.

    Raises:
        UserError: less and more are asked for at once, or the log file cannot be written.
    """
    _Manner.quiet |= quiet
    _Manner.verbose |= verbose
    if _Manner.quiet and _Manner.verbose:
        raise UserError("--quiet and --verbose exclude each other", hint="--quiet --log-file FILE keeps the details")
    if log_file is not None:
        open_log(log_file)


def reset() -> None:
    """As at the start of a process."""
    _Manner.quiet = _Manner.verbose = False
    close_log()


@contextmanager
def quiet(*, on: bool = True) -> Iterator[None]:
    """Drop the messages, warnings and bars of what runs inside; results and errors are shown."""
    token = _quiet.set(on or _quiet.get())
    try:
        yield
    finally:
        _quiet.reset(token)


def hushed() -> bool:
    """Whether only errors and results are shown."""
    return _quiet.get() or _Manner.quiet


def verbose() -> bool:
    """Whether details are shown."""
    return _Manner.verbose and not hushed()


def message(text: str) -> None:
    """A line about what goes on."""
    log(logging.INFO, text)
    if not hushed():
        say(Text(printable(text)))


def detail(text: str) -> None:
    """A line for those who ask how: shown with --verbose, and always in the log file."""
    log(logging.DEBUG, text)
    if verbose():
        say(Text(printable(text), style="dim"))


def warn(text: str) -> None:
    """A line about what may surprise."""
    log(logging.WARNING, text)
    if not hushed():
        say(Text.assemble(("warning: ", "yellow"), printable(text)))


def announce(text: str) -> None:
    """A line that is shown where messages are dropped, too."""
    log(logging.INFO, text)
    say(Text(printable(text)))


def error(fault: NampruneError) -> None:
    """What went wrong and, where there is one, what to do."""
    log(logging.ERROR, f"{fault.message}\nhint: {fault.hint}" if fault.hint else fault.message)
    say(Text.assemble(("error: ", "bold red"), printable(fault.message)))
    if fault.hint:
        say(Text.assemble(("hint: ", "cyan"), printable(fault.hint)))


def trace(fault: Exception) -> None:
    """Where a fault came from, for who mends it: as a detail."""
    detail("".join(traceback.format_exception(fault)).rstrip())


def say(text: Text) -> None:
    """A line on stderr, above the bars."""
    stderr().print(text, soft_wrap=True)


@cache
def stderr() -> Console:
    """One console for bars and messages, so that a message appears above the bars."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False)
