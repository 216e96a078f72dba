"""Runs that were stopped by a signal, gone on with, and those that must not be."""

import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from namprune import signals
from namprune.checkpoint import tensors_from_bytes
from namprune.errors import DataError, PruneError, RunError, UserError
from namprune.models.resnet import ResNet
from namprune.recipe import load_recipe
from namprune.result import EpochRecord
from namprune.runs import RunFolder, RunStore
from namprune.stages.prune import prune
from namprune.stages.resume import resume
from namprune.stages.train import train
from namprune.stages.work import NETWORK, Progress, Work, at_work, resume_command
from namprune.training import NonFiniteError

pytestmark = pytest.mark.slow

SECONDS = ("seconds", "images_per_second")


@contextmanager
def stop_in_step(number: int) -> Iterator[None]:
    """SIGTERM in a forward pass in training mode, from 1."""
    passes = 0

    def send(module: nn.Module, _: object) -> None:
        nonlocal passes
        passes += isinstance(module, ResNet) and module.training and torch.is_grad_enabled()
        if passes == number and isinstance(module, ResNet):
            os.kill(os.getpid(), signal.SIGTERM)

    hook = register_module_forward_pre_hook(send)
    try:
        with pytest.raises(signals.Interrupted), signals.graceful(silent=True):
            yield
    finally:
        hook.remove()


def numbers(run: RunFolder) -> list[dict[str, object]]:
    """What metrics.jsonl says, but for time."""
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in SECONDS} for line in lines]


@pytest.fixture(scope="module")
def halted(small_recipe, tmp_path_factory) -> RunFolder:
    """The run `dense`, stopped in its second epoch."""
    store = RunStore(tmp_path_factory.mktemp("halted"))
    with stop_in_step(11):
        train(small_recipe(), store=store, name="dense")
    return RunFolder(store.root / "dense")


@pytest.fixture
def unfinished(halted: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of it."""
    return RunFolder(shutil.copytree(halted.path, tmp_path / "runs" / "dense"))


def test_a_training_that_was_stopped_in_an_epoch_ends_with_the_same_bytes(trained, unfinished: RunFolder) -> None:
    whole = trained[1]
    assert unfinished.state() == "unfinished"
    assert len(numbers(unfinished)) == 1
    moved = load_recipe(str(unfinished.recipe), overrides=["runtime.save_every=0"])  # which is free to change
    result = resume(unfinished, moved)
    assert result.files["model.safetensors"] == whole.result().files["model.safetensors"]
    assert result.stages == whole.result().stages
    assert numbers(unfinished) == numbers(whole)
    assert unfinished.checkpoints.newest() == (None, ())
    events = EventAccumulator(str(unfinished.path), size_guidance={"histograms": 0}).Reload()
    for told in (events.Scalars("train/loss"), events.Histograms("gamma/stem.1")):
        assert [event.step for event in told] == [1, 2]
    assert len(events.Images("first_batch")) == 1
    with pytest.raises(RunError, match="'dense' is finished"):
        RunStore(unfinished.path.parent).open_unfinished("dense", kinds=["train"])


@pytest.mark.parametrize("step", [3, 12])
def test_a_pruning_that_was_stopped_after_either_cut_ends_with_the_same_bytes(store: RunStore, step: int) -> None:
    parent = store.open("dense")
    recipe = load_recipe(str(parent.recipe), overrides=["prune.steps=2", "finetune.epochs=2"])
    if not (store.root / "whole").exists():
        prune(parent, recipe, store=store, name="whole")
    whole, run = store.open("whole"), RunFolder(store.root / f"stopped-{step}")
    with stop_in_step(step):
        prune(parent, recipe, store=store, name=run.name)
    result = resume(run)
    assert result.files["model.safetensors"] == whole.result().files["model.safetensors"]
    assert (result.stages, result.cut) == (whole.result().stages, whole.result().cut)
    assert run.plan.read_text() == whole.plan.read_text()
    assert numbers(run) == numbers(whole)


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda run: edit(run.recipe, "seed: 0", "seed: 1"), RunError, "recipe.yaml is not the one"),
        (lambda run: edit(run.start_file, run.start().data_digest, "0" * 64), DataError, "other pictures"),
        (lambda run: edit(run.start_file, '"torch": "', '"torch": "1.'), UserError, r"begun with torch 1\.2"),
        (lambda run: run.start_file.unlink(), RunError, "start.json is missing"),
    ],
    ids=["recipe", "pictures", "version", "start"],
)
def test_what_would_end_as_another_run_is_refused(
    unfinished: RunFolder, change: Callable[[RunFolder], object], error: type[UserError], words: str
) -> None:
    change(unfinished)
    before = sorted(unfinished.path.rglob("*"))
    with pytest.raises(error, match=words):
        resume(unfinished)
    assert sorted(unfinished.path.rglob("*")) == before


def test_another_recipe_is_refused_by_its_key(unfinished: RunFolder) -> None:
    other = load_recipe(str(unfinished.recipe), overrides=["train.lr=0.3"])
    with pytest.raises(UserError, match=r"^train\.lr: run 'dense' was made with 0\.2, not with 0\.3"):
        resume(unfinished, other)


def test_a_parent_that_was_made_anew_is_not_its_parent(store: RunStore, tmp_path: Path) -> None:
    pruned = RunStore(tmp_path)
    shutil.copytree(store.open("dense").path, tmp_path / "dense")
    parent = pruned.open("dense")
    with stop_in_step(2):
        prune(parent, load_recipe(str(parent.recipe)), store=pruned, name="cut")
    edit(parent.result_file, parent.result().files["model.safetensors"], "0" * 64)
    with pytest.raises(RunError, match="'cut' was begun from another 'dense', which was made anew"):
        resume(RunFolder(tmp_path / "cut"))


def test_a_run_that_fails_before_it_has_saved_leaves_nothing(store: RunStore) -> None:
    parent = store.open("dense")
    recipe = load_recipe(str(parent.recipe), overrides=["prune.target_macs=0.0001"])
    with pytest.raises(PruneError):
        prune(parent, recipe, store=store, name="impossible")
    assert not (store.root / "impossible").exists()


def test_a_run_that_fails_after_it_has_saved_can_be_looked_into(small_recipe, tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match="in epoch 1"):
        train(small_recipe("train.lr=1e20"), store=RunStore(tmp_path), name="a")
    saved, broken = RunFolder(tmp_path / "a").checkpoints.newest()
    assert saved is not None
    assert broken == ()
    assert all(tensor.isfinite().all() for tensor in tensors_from_bytes(saved.read(NETWORK)).values())


def test_a_line_of_metrics_that_comes_again_is_there_once(halted: RunFolder, tmp_path: Path) -> None:
    run = RunFolder(shutil.copytree(halted.path, tmp_path / "dense"))
    (record,) = Work(run, save_every=60).progress.records
    assert isinstance(record, EpochRecord)
    run.append(run.metrics, dataclasses.asdict(dataclasses.replace(record, epoch=2)))
    with run.metrics.open("a") as lines:
        lines.write('{"phase": "tr')  # killed in the middle of it
    Work(run, save_every=60)
    assert [line["epoch"] for line in numbers(run)] == [1]


def test_a_broken_checkpoint_is_passed_over_with_a_word(halted: RunFolder, tmp_path: Path, capsys) -> None:
    run = RunFolder(shutil.copytree(halted.path, tmp_path / "dense"))
    saved, _ = run.checkpoints.newest()
    assert saved is not None
    (saved.path / NETWORK).write_bytes(b"")
    work = Work(run, save_every=60)
    assert work.saved is not None
    assert (work.saved.number, work.progress.records) == (saved.number - 1, ())
    assert "passed over: checkpoint" in capsys.readouterr().err


def test_an_interruption_says_how_to_go_on(small_recipe, tmp_path: Path, capsys) -> None:
    run = RunStore(tmp_path / "my runs").create("a", recipe="")
    assert Work(run, save_every=60).progress == Progress()
    with pytest.raises(KeyboardInterrupt), at_work(run, small_recipe(), kind="prune"):
        raise KeyboardInterrupt
    assert resume_command(run, kind="prune") == f"namprune prune --resume a --runs '{run.path.parent}'"
    assert resume_command(RunFolder(Path("runs/a")), kind="scratch") == "namprune train --resume a"
    assert resume_command(run, kind="prune") in capsys.readouterr().err
