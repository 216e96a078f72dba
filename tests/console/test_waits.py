"""Phases and loops that are shown once they last."""

import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice

import pytest

from namprune import console
from namprune.console.waits import SHORT

ON_A_TERMINAL = """
import time
from namprune import console
with console.status("planning"), console.watched(range(40), 40, "validating") as steps:
    for _ in steps:
        time.sleep(0.02)
with console.status("over at once"), console.watched(range(2), 2, "short") as steps:
    list(steps)
"""


@pytest.fixture
def verbose() -> Iterator[None]:
    console.speak(verbose=True)
    yield
    console.reset()


@pytest.mark.usefixtures("verbose")
def test_how_long_a_phase_took_is_a_detail(capsys: pytest.CaptureFixture[str]) -> None:
    with console.status("planning"):
        time.sleep(2 * SHORT)
    with console.status("a moment"):
        pass
    with suppress(KeyboardInterrupt), console.status("broken off"):
        time.sleep(2 * SHORT)
        raise KeyboardInterrupt
    assert re.fullmatch(r"planning: 0\.\d s\n", capsys.readouterr().err)


def test_a_loop_that_is_watched_is_the_same_loop() -> None:
    with console.watched(iter("abc"), 3, "letters") as steps:
        assert [*islice(steps, 2)] == ["a", "b"]
        assert [*steps] == ["c"]


def test_what_lasts_is_shown_on_a_terminal_and_what_does_not_is_not() -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen([sys.executable, "-c", ON_A_TERMINAL], env=environment, stdout=theirs, stderr=theirs):
        os.close(theirs)
        said = b""
        try:
            while part := os.read(ours, 65536):
                said += part
        except OSError:  # how Linux says that nobody is at the other end any more
            pass
        finally:
            os.close(ours)
    assert b"planning" in said
    assert b"validating" in said
    assert b"/40" in said
    assert b"at once" not in said
    assert b"short" not in said
