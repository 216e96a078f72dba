"""Runs as Ray tasks: the same bytes as without, also when workers die; faults and ends arrive as they are."""

import dataclasses
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from namprune.errors import PruneError, RunError, UserError
from namprune.recipe import dump_recipe, load_recipe
from namprune.runs import RunStore
from namprune.stages.cluster import RETRIES, _work, on_ray
from namprune.stages.compare import compare
from namprune.stages.comparison import Comparison, begin
from namprune.stages.grid import cuts
from namprune.stages.jobs import Job

TINY = (
    "data.limit=200",
    "model.width=0.25",
    "train.epochs=10",
    "train.batch_size=32",
    "finetune.epochs=1",
    "finetune.batch_size=32",
    "prune.recalibrate=1",
    "runtime.device=cpu",
)


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("quickstart", overrides=TINY)


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def job(recipe, name: str, *, parent: str | None = None, **changes) -> Job:
    prune = recipe.prune.model_copy(update=changes.pop("prune", {}))
    train = recipe.train.model_copy(update=changes)
    own = recipe.model_copy(update={"train": train, "prune": prune})
    return Job(name=name, kind="prune" if parent else "train", recipe=dump_recipe(own), device="cpu", parent=parent)


def kill_workers(root: Path, signums: list[int], killed: list[int]) -> None:
    """Send each signal to another worker, once it has trained for two epochs."""
    until = time.monotonic() + 120
    while len(killed) < len(signums) and time.monotonic() < until:
        time.sleep(0.02)
        for metrics in root.glob("*/metrics.jsonl"):
            with suppress(FileNotFoundError, IndexError):  # the next attempt begins anew; its lock is not signed yet
                worker = int((metrics.parent / ".lock").read_text().split()[1])
                trained = metrics.read_text().count("\n") >= 2
                if trained and worker not in killed and not (metrics.parent / "result.json").exists():
                    os.kill(worker, signums[len(killed)])
                    killed.append(worker)
                    break


@pytest.mark.slow
def test_a_grid_ends_with_the_same_bytes_though_workers_are_killed(recipe, tmp_path, one_thread, capfd) -> None:
    asked = Comparison(recipe=recipe, attentions=("nam",), cuts=cuts(recipe.prune, ratios=(0.5,)))
    alone = compare(asked, store=RunStore(tmp_path / "alone"))
    store, killed = RunStore(tmp_path / "runs"), []
    # a machine that is taken away, then one that fails
    killer = threading.Thread(target=kill_workers, args=(store.root, [signal.SIGTERM, signal.SIGKILL], killed))
    killer.start()
    results = compare(asked, store=store, backend="ray")
    killer.join()
    assert len(killed) == 2 <= RETRIES
    said = capfd.readouterr()
    assert said.out == ""
    assert [line[:6] for line in said.err.splitlines() if line.startswith("[")] == ["[1/2] ", "[2/2] "] * 2
    for one, other in zip(results, alone, strict=True):
        assert one.files["model.safetensors"] == other.files["model.safetensors"]
        assert (one.name, one.parent, one.stages) == (other.name, other.parent, other.stages)
        assert one.environment == other.environment
        store.open(one.name).verify()


@pytest.mark.slow
def test_a_fault_arrives_as_it_is_and_ends_what_is_at_work(recipe, tmp_path, monkeypatch, one_thread) -> None:
    monkeypatch.chdir(tmp_path)
    store = RunStore(tmp_path / "runs")
    begin(Comparison(recipe=recipe), store)
    jobs = [
        job(recipe, "dense", epochs=1),
        job(recipe, "endless", epochs=10_000),
        job(recipe, "impossible", parent="dense", epochs=1, prune={"keep": ("no such layer",)}),
    ]
    handler = signal.getsignal(signal.SIGTERM)
    runs = on_ray(jobs, store.root.relative_to(tmp_path))
    assert next(runs) == store.open("dense").result()
    assert signal.getsignal(signal.SIGTERM) == handler
    with pytest.raises(PruneError, match="no such layer") as caught:
        next(runs)
    assert caught.value.hint
    assert {folder.name: folder.state() for folder in store.folders()} == {"dense": "finished", "endless": "unfinished"}
    _, broken = store.folders()[1].checkpoints.newest()
    assert broken == ()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1", "ray://127.0.0.1:1", "no such host:6379", "h:99999"])
def test_an_address_where_no_ray_is_is_refused_at_once(recipe, tmp_path, address) -> None:
    with pytest.raises(UserError, match="no Ray takes us at"):
        next(on_ray([job(recipe, "dense")], tmp_path, address=address))


def test_a_machine_that_does_not_see_the_runs_says_so(recipe, tmp_path) -> None:
    fault, line, hint = _work(
        dataclasses.asdict(job(recipe, "dense")), folder=str(tmp_path), root="runs", threads=torch.get_num_threads()
    )
    assert (fault, RunError.__name__) == ("RunError", fault)
    assert f"does not see {tmp_path / 'runs'}" in line
    assert "share" in hint


def test_without_ray_the_extra_is_named(recipe, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "namprune.stages.cluster")
    with pytest.raises(UserError, match="ray is not installed") as caught:
        compare(Comparison(recipe=recipe), store=RunStore(tmp_path / "runs"), backend="ray")
    assert caught.value.hint == "pip install 'namprune[ray]'"


def test_an_address_is_that_of_a_cluster(recipe, tmp_path) -> None:
    with pytest.raises(UserError, match="Ray cluster"):
        compare(Comparison(recipe=recipe), store=RunStore(tmp_path / "runs"), address="auto")
