"""Work that is stopped where there is no step to finish: it ends on the spot, and goes on to the same end."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from namprune import signals
from namprune.console import waits
from namprune.recipe import load_recipe
from namprune.runs import RunFolder
from namprune.stages.evaluate import evaluate
from namprune.stages.prune import prune
from namprune.stages.resume import resume

pytestmark = pytest.mark.slow


@pytest.fixture
def stop_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Within it SIGTERM comes as a phase begins, and nothing of that phase is done."""
    plain = waits.progress

    @contextmanager
    def stopped(phase: str) -> Iterator[None]:
        @contextmanager
        def progress(total: int | None, description: str, *, late: bool = False) -> Iterator[Any]:
            with plain(total, description, late=late) as bar:
                if description == phase:
                    os.kill(os.getpid(), signal.SIGTERM)
                    assert signals.asked() is None, "the phase goes on"
                yield bar

        with monkeypatch.context() as patch:
            patch.setattr(waits, "progress", progress)
            with signals.graceful(silent=True), signals.at_once(), pytest.raises(signals.Interrupted):
                yield

    return stopped


@pytest.fixture(scope="module")
def whole(store) -> RunFolder:
    """A pruning that nobody stopped."""
    dense = store.open("dense")
    return store.open(prune(dense, load_recipe(str(dense.recipe)), store=store, name="whole").name)


@pytest.mark.parametrize("phase", ["planning the cut", "recalibration", "test", "latency of batch 64"])
def test_a_pruning_goes_on_from_any_phase(store, whole, stop_in, capsys, phase: str) -> None:
    dense, name = store.open("dense"), phase.replace(" ", "-")
    with stop_in(phase):
        prune(dense, load_recipe(str(dense.recipe)), store=store, name=name)
    assert f"namprune prune --resume {name}" in capsys.readouterr().err
    run = RunFolder(store.root / name)
    assert run.state() == "unfinished"
    resume(run)
    assert run.weights.read_bytes() == whole.weights.read_bytes()
    assert run.result().stages == whole.result().stages


@pytest.mark.parametrize("phase", ["reading digits", "loading whole", "test"])
def test_what_saves_nothing_leaves_nothing(store, whole, stop_in, phase: str) -> None:
    before = sorted(store.root.rglob("*"))
    with stop_in(phase):
        evaluate(whole, load_recipe(str(whole.recipe)))
    assert sorted(store.root.rglob("*")) == before
