"""Signals that ask a process to end: the work goes on to the next state that can be saved, and ends there.

SIGINT (Ctrl-C), SIGTERM (schedulers, before they kill) and SIGUSR1 (schedulers, when time runs out). A loop asks with
`poll` whether one came; a second one ends the process at once, by the system's own hand.
"""

import ctypes
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 0}


class Interrupted(KeyboardInterrupt):
    """The work was ended by a signal, at a place where nothing is lost by it."""

    def __init__(self, signum: signal.Signals) -> None:
        super().__init__(signum.name)
        self.signum = signum

    @property
    def name(self) -> str:
        """Of the signal, as `SIGTERM`."""
        return self.signum.name

    @property
    def exit_code(self) -> int:
        """What shells and schedulers expect: 130, 143, and 0 for SIGUSR1, after which a job is put back in line."""
        return _EXIT_CODES[self.signum]


class _State:
    """Of this process."""

    graceful = False
    asked: signal.Signals | None = None


class _Manner(threading.local):
    """Of this thread; what a signal does when it comes is for the main one to say."""

    deferred = 0
    at_once = False


_state = _State()
_manner = _Manner()


@contextmanager
def graceful(*, silent: bool = False, again: bool = True) -> Iterator[None]:
    """Take the first signal as a question that `poll` answers; unless `silent`, a line on stderr says so.

    A second one ends the process, unless not `again`: whoever started it may send what the system has sent it already.
    Signals that are ignored (as under nohup) stay so. In other threads than the main one nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(signum: int, _: FrameType | None) -> None:
        if not again and _state.asked is not None:
            return
        for each in before if again else ():
            signal.signal(each, signal.SIG_DFL)
        if _state.asked is not None:  # two of different names, during one long C call
            os.kill(os.getpid(), signum)
        _state.asked = signal.Signals(signum)
        now = _manner.at_once and not _manner.deferred
        if not silent:
            doing = "leaving off" if now else "finishing the step, saving" + "; again to leave at once" * again
            _say(f"{_state.asked.name}: {doing}")
        if now:
            raise Interrupted(_state.asked)

    before = {each: signal.getsignal(each) for each in _EXIT_CODES if signal.getsignal(each) != signal.SIG_IGN}
    _state.graceful = True
    for each in before:
        signal.signal(each, ask)
        if again:
            _reset_when_it_comes(each)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        _state.graceful, _state.asked = False, None


def asked() -> signal.Signals | None:
    """The signal that came, if one did."""
    return _state.asked


def poll() -> None:
    """To be called where a loop can end.

    Raises:
        Interrupted: a signal came.
    """
    if _state.asked is not None and not _manner.deferred:
        raise Interrupted(_state.asked)


@contextmanager
def deferred() -> Iterator[None]:
    """Let no `poll` inside raise, where what is half done is no state to save; the next one after it does."""
    _manner.deferred += 1
    try:
        yield
    finally:
        _manner.deferred -= 1


@contextmanager
def at_once(*, on: bool = True) -> Iterator[None]:
    """Let the first signal raise Interrupted wherever it comes: for what saves nothing, or what is saved already.

    Not `on`: let it wait for a `poll`, in what has something to save.
    """
    before, _manner.at_once = _manner.at_once, on
    try:
        if on:
            poll()
        yield
    finally:
        _manner.at_once = before


def _say(line: str) -> None:
    """By the system's own hand: whatever lock a console has, the signal may have come while it was held."""
    with suppress(OSError):
        os.write(2, f"{chr(10) if os.isatty(2) else ''}{line}\n".encode())


def _reset_when_it_comes(signum: signal.Signals) -> None:
    """Have the system put its default action back before Python's handler is called, which waits for long C calls.

    Where the C library cannot, a second signal during the same long call is not seen before the call is over.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "sysv_signal"):
        handler_of = ctypes.pythonapi.PyOS_getsig
        handler_of.restype = libc.sysv_signal.restype = ctypes.c_void_p
        libc.sysv_signal(signum.value, ctypes.c_void_p(handler_of(signum.value)))


def _leave_it_to_the_parent() -> None:
    """In a forked worker: a signal to all processes of a job ends it no sooner than its parent, which polls."""
    if _state.graceful:
        _state.asked = None
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # by which a parent ends its workers


os.register_at_fork(after_in_child=_leave_it_to_the_parent)
