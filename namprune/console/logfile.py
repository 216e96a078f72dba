"""The log file: all that is said, and details, appended with UTC times and levels."""

import logging
import time
from contextlib import suppress
from pathlib import Path

from namprune.console.text import printable
from namprune.errors import UserError


class _Line(logging.Formatter):
    """`2026-01-01T12:00:00.123Z WARNING namprune: text`; further lines of a text are indented."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """One record, which cannot be mistaken for two."""
        return printable(super().format(record)).replace("\n", "\n    ")


class _LogFile(logging.FileHandler):
    """A disk that is full ends the log, not the work."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's name
        """Write no more."""
        self.setLevel(logging.CRITICAL + 1)


class _Open:
    """The one of this process."""

    file: _LogFile | None = None


def open_log(path: Path) -> None:
    """From now on, append to this file; warnings of libraries go there, too, and there alone.

    Raises:
        UserError: it cannot be written.
    """
    close_log()
    try:
        file = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UserError(
            f"--log-file {path}: {error.strerror or error}",
            hint="name a file that can be written, in a folder that is there",
        ) from error
    file.setFormatter(_Line("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S"))
    logging.getLogger().addHandler(file)
    logging.captureWarnings(True)
    _Open.file = file


def close_log() -> None:
    """No log file any more."""
    if _Open.file is not None:
        logging.captureWarnings(False)
        logging.getLogger().removeHandler(_Open.file)
        with suppress(OSError):  # a disk that is full was noticed before
            _Open.file.close()
        _Open.file = None


def log(level: int, text: str) -> None:
    """A record of our own; past the loggers, which others may switch off for what libraries say."""
    if _Open.file is not None and level >= _Open.file.level:
        _Open.file.handle(logging.LogRecord("namprune", level, "", 0, text, None, None))
