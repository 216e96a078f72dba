"""Two processes on one run: the second is told, also when the first was killed or its workers live on."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from namprune.errors import RunError
from namprune.runs import RunFolder, RunStore

HOLD = """
import os, pathlib, sys, time
from namprune.runs import RunFolder
with RunFolder(pathlib.Path(sys.argv[1])).claimed():
    if len(sys.argv) == 2 or not os.fork():
        print(os.getpid(), flush=True)  # the worker, if there is to be one
    time.sleep(60)
"""


@pytest.fixture
def run(store: RunStore) -> RunFolder:
    return store.create("a", recipe="")


@pytest.fixture
def hold(run: RunFolder):
    """Starts a process that is at work on the run, with a forked worker if asked; gives it and the worker's number."""
    started: list[tuple[subprocess.Popen[str], int]] = []

    def begin(*worker: str) -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen([sys.executable, "-c", HOLD, run.path, *worker], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        started.append((process, int(process.stdout.readline())))
        return started[-1]

    yield begin
    for process, worker in started:
        process.kill()
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
        process.communicate()


def test_a_second_process_is_refused_with_the_name_of_the_first(run: RunFolder, hold) -> None:
    assert run.state() == "unfinished"
    process, _ = hold()
    assert run.state() == "running"
    for refused in (lambda: run.claimed().__enter__(), run.result, run.discard):
        with pytest.raises(RunError, match=f"'a' is at work in process {process.pid} on {socket.gethostname()}"):
            refused()
    assert run.recipe.exists()


def test_the_lock_dies_with_its_process_though_a_worker_lives_on(run: RunFolder, hold) -> None:
    process, worker = hold("with a worker")
    process.kill()
    process.wait()
    os.kill(worker, 0)  # it is there
    assert run.state() == "unfinished"
    with run.claimed():
        assert run.state() == "running"


def test_who_looks_is_in_nobodys_way(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    with run.claimed():
        pass
    descriptor = os.open(run.lock_file, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    assert run.state() == "unfinished"
    monkeypatch.setattr(time, "sleep", lambda _: os.close(descriptor))
    with run.claimed():
        assert run.state() == "running"


def test_a_process_claims_its_own_run_again_and_may_delete_it(run: RunFolder) -> None:
    with run.claimed():
        with run.claimed():
            pass
        assert run.state() == "running"
        run.discard()
    assert not run.path.exists()
    run.discard()


def test_without_locks_the_work_goes_on_after_a_word(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(RuntimeWarning, match="no locks"), run.claimed():
        assert run.state() == "unfinished"
