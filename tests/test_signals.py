"""The first signal ends the work where nothing is lost, the second one ends the process; in real processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from torch import nn

from namprune import signals
from namprune.data.decode import decode_all
from namprune.data.folder import list_splits
from namprune.measure import accuracy, interleaved_latency
from namprune.pruning import ChannelGraph, Ranking, measure_sensitivity, recalibrate
from namprune.pruning.compensate import input_means
from namprune.pruning.gradients import mean_over_batches, taylor_importance
from namprune.pruning.target import bracket, macs_share

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 0)]

WORK = """
import itertools, os, sys, time
from namprune import signals

def work():
    {body}

try:
    with signals.graceful({options}):
        print("ready", flush=True)
        work()
except signals.Interrupted as interrupted:
    print("saved after", interrupted.name)
    sys.exit(interrupted.exit_code)
"""
POLLING = "while True: signals.poll(); time.sleep(0.01)"
MAIN = """
import os, signal, sys
from namprune import cli, signals
from namprune.runs import RunStore

def folders(store):
    os.kill(os.getpid(), signal.SIGTERM)
    while True:
        signals.poll()

RunStore.folders = folders
sys.argv = ["namprune", "runs"]
cli.main()
"""


@pytest.fixture
def start() -> Iterator[object]:
    """Starts a process with this work, and waits until it has begun."""
    started: list[subprocess.Popen[str]] = []

    def begin(body: str, *, options: str = "") -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WORK.format(body=body, options=options)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def asked() -> Iterator[None]:
    """One signal came, and no loop has heard of it."""
    with signals.graceful(silent=True):
        os.kill(os.getpid(), signal.SIGUSR1)
        yield


@pytest.mark.parametrize(("signum", "code"), SIGNALS)
def test_the_first_signal_ends_the_work_at_the_next_poll(start, signum: signal.Signals, code: int) -> None:
    process = start(POLLING)
    process.send_signal(signum)
    out, said = process.communicate(timeout=10)
    assert (process.returncode, out) == (code, f"saved after {signum.name}\n")
    assert said == f"{signum.name}: finishing the step, saving; again to leave at once\n"


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize(
    "body",
    [
        "time.sleep(60)",
        "while True: sum(itertools.repeat(1, 10_000_000))",
        "import numpy\n    while True: numpy.linalg.svd(numpy.eye(300))",
    ],
    ids=["sleep", "sum", "svd"],
)
def test_the_second_signal_ends_the_process_at_once(start, second: signal.Signals, body: str) -> None:
    process = start(body)
    process.send_signal(signal.SIGINT)
    assert "SIGINT: finishing" in process.stderr.readline()
    process.send_signal(second)
    began = time.perf_counter()
    assert process.wait(timeout=10) == -second
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_both_signals_in_one_long_call_into_c(start, signum: signal.Signals) -> None:
    process = start("sum(itertools.repeat(1, 10**12))")  # hours in which Python runs no handler
    time.sleep(0.2)
    process.send_signal(signum)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signum)
    assert process.wait(timeout=1) == -signum


def test_a_process_of_a_group_is_told_twice_and_saves(start) -> None:
    process = start(POLLING, options="again=False")
    for _ in range(3):  # from the system and from who started it, of whatever name
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=10)
    assert (process.returncode, out) in [(143, "saved after SIGTERM\n"), (130, "saved after SIGINT\n")]
    assert said in ("SIGTERM: finishing the step, saving\n", "SIGINT: finishing the step, saving\n")


@pytest.mark.parametrize("inside", ["signals.at_once(on=False)", "signals.deferred()"])
def test_what_is_to_be_saved_is_not_left_where_it_is(start, inside: str) -> None:
    process = start(f"with signals.at_once(), {inside}: os.kill(os.getpid(), 15); time.sleep(0.1); print('done')")
    out, said = process.communicate(timeout=10)
    assert (process.returncode, out) == (0, "done\n")
    assert said == "SIGTERM: finishing the step, saving; again to leave at once\n"


def test_what_saves_nothing_is_left_where_it_is(start) -> None:
    process = start("with signals.at_once(): time.sleep(60)")
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=10)
    assert (process.returncode, out) == (143, "saved after SIGTERM\n")
    assert said == "SIGTERM: leaving off\n"


def test_what_saves_nothing_is_not_begun_after_a_signal(asked) -> None:
    with pytest.raises(signals.Interrupted), signals.at_once():
        raise AssertionError("it was begun")


def test_another_thread_has_no_say_in_where_a_signal_ends_the_work(start) -> None:
    body = (
        "import threading; inside = signals.at_once(); "
        "one = threading.Thread(target=inside.__enter__); one.start(); one.join(); "
        "os.kill(os.getpid(), 15); time.sleep(0.1); print('done')"
    )
    out, said = start(body).communicate(timeout=10)
    assert (out, said) == ("done\n", "SIGTERM: finishing the step, saving; again to leave at once\n")


def test_a_worker_leaves_signals_of_the_whole_job_to_its_parent(start) -> None:
    process = start("os.fork() or (print(os.getpid(), flush=True), time.sleep(60))\n    " + POLLING)
    worker = int(process.stdout.readline())
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=10) == 130
    assert process.stderr.readline() == "SIGINT: finishing the step, saving; again to leave at once\n"
    os.kill(worker, signal.SIGUSR1)
    os.kill(worker, 0)
    os.kill(worker, signal.SIGTERM)
    assert process.stderr.read() == ""  # which ends when the worker does


def test_a_command_ends_with_the_code_of_its_signal() -> None:
    done = subprocess.run([sys.executable, "-c", MAIN], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (143, "")
    assert done.stderr == "SIGTERM: leaving off\n"


def test_handlers_come_back_and_ignored_signals_stay_ignored() -> None:
    before = [signal.signal(signal.SIGUSR1, signal.SIG_IGN), *(signal.getsignal(each) for each, _ in SIGNALS[:2])]
    try:
        with signals.graceful(silent=True):
            assert signal.getsignal(signal.SIGTERM) != before[2]
            os.kill(os.getpid(), signal.SIGUSR1)
            assert not signals.asked()
            signals.poll()
    finally:
        signal.signal(signal.SIGUSR1, before[0])
    assert [signal.getsignal(each) for each, _ in SIGNALS[:2]] == before[1:]


def test_another_thread_changes_nothing() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with signals.graceful(silent=True):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_what_is_deferred_is_not_forgotten(asked) -> None:
    with signals.deferred():
        assert signals.asked()
        signals.poll()
    with pytest.raises(signals.Interrupted) as caught:
        signals.poll()
    assert (caught.value.name, caught.value.exit_code) == ("SIGUSR1", 0)


def test_a_closed_stderr_is_no_fault_of_the_work() -> None:
    kept = os.dup(2)
    os.close(2)
    try:
        with signals.graceful():
            os.kill(os.getpid(), signal.SIGTERM)
            assert signals.asked()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    assert not signals.asked()


def _sensitivity(model: nn.Module) -> None:
    ranking = Ranking.of(ChannelGraph(model, (1, 2, 2)), (1, 2, 2), criterion="l1", bottlenecks="auto", seed=0)
    measure_sensitivity(ranking, top1=lambda _: 0.5, images=1, criterion="l1", recalibrated=0)


BATCHES = [(torch.zeros(2, 1, 2, 2), torch.zeros(2, dtype=torch.int64))]
LOOPS = {
    "accuracy": lambda model: accuracy(model, BATCHES),
    "latency": lambda model: interleaved_latency({"one": model}, (1, 2, 2), batch=1),
    "recalibrate": lambda model: recalibrate(model, BATCHES, limit=1),
    "compensate": lambda model: input_means(model, ["3"], BATCHES, limit=1),
    "gradients": lambda model: mean_over_batches(model, [], taylor_importance, BATCHES),
    "target": lambda _: bracket(macs_share(0.5), lambda ratio: 1 - ratio, channel=0.1),
    "sensitivity": _sensitivity,
    "decode": lambda _: decode_all(lambda _: np.zeros((1, 1, 3), np.uint8), ["one"], side=1, threads=1),
}


@pytest.mark.parametrize("loop", LOOPS)
def test_every_long_loop_can_be_ended(loop: str, asked) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    with pytest.raises(signals.Interrupted):
        LOOPS[loop](model)


def test_listing_pictures_can_be_ended(tmp_path: Path, asked) -> None:
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            (tmp_path / split / name / "1.png").touch()
    with pytest.raises(signals.Interrupted):
        list_splits(tmp_path)
