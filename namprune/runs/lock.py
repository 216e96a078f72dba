"""One process at a time for a run: an flock, which ends with its process, however that ends. The file stays."""

import errno
import fcntl
import os
import socket
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from namprune.errors import RunError
from namprune.runs.files import writing

LOOK = 0.05
"""Seconds to wait before a second try: whoever only looks holds the lock for less."""

_UNSUPPORTED = {errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS}
_held: dict[Path, int] = {}
"""The locks of this process and their descriptors."""


def _let_go() -> None:
    """In a forked worker: its copies of the descriptors would hold the locks when the process itself is gone."""
    while _held:
        os.close(_held.popitem()[1])


os.register_at_fork(after_in_child=_let_go)


@contextmanager
def claim(file: Path, *, run: str) -> Iterator[None]:
    """Hold the lock of a run, if this process does not hold it already.

    Where the file system has no locks, a warning says so and the work goes on.

    Raises:
        RunError: another process holds it, which is named; or the place cannot be written.
    """
    file = file.parent.resolve() / file.name
    if file in _held:
        yield
        return
    with writing(file):
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    _held[file] = descriptor
    try:
        locked = _lock(descriptor, fcntl.LOCK_EX)
        if locked is False:
            time.sleep(LOOK)
            locked = _lock(descriptor, fcntl.LOCK_EX)
        if locked is False:
            raise RunError(f"run {run!r} is at work in {_owner(descriptor)}", hint="wait for it, or end that process")
        if locked is None:
            message = f"no locks on the file system of {file.parent}: nothing keeps two processes off this run"
            warnings.warn(message, RuntimeWarning, stacklevel=3)
        with suppress(OSError):  # a full disk: then nobody is named
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
    finally:
        if _held.pop(file, None) is not None:  # it is, in a worker that was forked meanwhile
            os.close(descriptor)


def holder(file: Path) -> str | None:
    """Which process holds the lock, as `process 123 on host`, if one does."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        # shared, so that two who look do not see each other
        return _owner(descriptor) if _lock(descriptor, fcntl.LOCK_SH) is False else None
    finally:
        os.close(descriptor)


def _lock(descriptor: int, mode: int) -> bool | None:
    """Whether the lock was to be had; None where there is no such thing."""
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        return None
    return True


def _owner(descriptor: int) -> str:
    text = os.pread(descriptor, 200, 0).decode("utf-8", "replace")
    return text if text.startswith("process ") else "another process"
