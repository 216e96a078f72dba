"""Runs made by hand, without training."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from namprune.result import (
    Accuracy,
    Complexity,
    Cut,
    Environment,
    Kind,
    Latency,
    Measurement,
    RunResult,
    Start,
    Timing,
)
from namprune.runs import RunFolder, RunStore

WEIGHTS = b"weights"

ResultFactory = Callable[..., RunResult]
RunFactory = Callable[[RunResult], RunFolder]


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """What a shell starts in the background ignores SIGINT, and so would the processes that tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is remembered of pictures and networks that are gone after the tests belongs in no one's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def _result(name: str, *, top1: float = 0.9, macs: int = 40_000_000, params: int = 1000, **changes: Any) -> RunResult:
    accuracy = Accuracy(top1=top1, top5=0.99, loss=0.3, images=100)
    complexity = Complexity(macs=macs, macs_aten=macs, params=params, bytes=4 * params)
    stage = Measurement(stage="trained", complexity=complexity, val=accuracy, test=accuracy)
    result = RunResult(
        name=name,
        kind="train",
        created="2026-01-01T00:00:00+00:00",
        parent=None,
        dense=None,
        model="resnet20",
        attention="nam",
        data="CIFAR-10 (JPEG)",
        classes=("cat", "dog"),
        input_shape=(3, 32, 32),
        seed=0,
        recipe_digest="r",
        data_digest="d",
        files={},
        environment=Environment(device="cpu", threads=1, python="3.11", versions={"torch": "2.15"}),
        stages=(stage,),
        epochs=3,
        seconds=1.0,
        images_per_second=1000.0,
    )
    return dataclasses.replace(result, **changes)


@pytest.fixture(scope="session")
def in_two_processes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Any]]:
    """Runs a file as both processes of a group, and gives the JSON that each has written to `<rank>.json`."""

    def run(file: str) -> list[Any]:
        out = tmp_path_factory.mktemp("group")
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", file, out]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return [json.loads((out / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]

    return run


@pytest.fixture(scope="session")
def make_result() -> ResultFactory:
    """A trained run's record; `top1`, `macs`, `params` and any field can be given."""
    return _result


@pytest.fixture(scope="session")
def make_pruned() -> ResultFactory:
    """The record of a run that was cut from `parent`, with dense and pruned medians of batch 64 in seconds."""

    def make(
        name: str,
        *,
        parent: RunResult,
        ratio: float = 0.5,
        medians: tuple[float, float] = (0.010, 0.005),
        **changes: Any,
    ) -> RunResult:
        cut = Cut(
            ratio=ratio,
            criterion="nam",
            scope="global",
            round_to=1,
            channels_before=100,
            channels_after=50,
            near_zero=0.6,
            near_zero_removed=0.9,
            proof=1e-7,
            skipped={"classifier": "its channels are the network's output"},
        )
        dense, pruned = (Latency(batch=64, median=median, iqr=0.05 * median, blocks=9) for median in medians)
        values: dict[str, Any] = {
            "kind": "prune",
            "parent": parent.name,
            "dense": parent.dense or parent.name,
            "dense_weights": sha256(WEIGHTS).hexdigest(),
            "seed": parent.seed,
            "cut": cut,
            "latency": (Timing(dense=dense, network=pruned),),
        }
        return _result(name, **(values | changes))

    return make


@pytest.fixture
def make_start() -> Callable[..., Start]:
    """What a run of a kind began as."""

    def make(kind: Kind, *, parent: str | None = None) -> Start:
        return Start(
            kind=kind,
            parent=parent,
            parent_weights=sha256(WEIGHTS).hexdigest() if parent else None,
            data_digest="d",
            recipe_sha256="r",
            environment=Environment(device="cpu", threads=1, python="3.11", versions={"torch": "2.15"}),
        )

    return make


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """An empty folder of runs, not made yet."""
    return RunStore(tmp_path / "runs")


@pytest.fixture
def save(store: RunStore) -> RunFactory:
    """Writes a record as a finished run."""

    def write(result: RunResult) -> RunFolder:
        folder = store.create(result.name, recipe="seed: 0\n")
        folder.write(folder.weights, WEIGHTS)
        folder.finish(result)
        return folder

    return write
