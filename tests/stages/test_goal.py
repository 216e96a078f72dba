"""What a recipe asks for, carried through a run."""

import pytest
import torch

from namprune.errors import PruneError, UserError
from namprune.pruning import PruningPlan
from namprune.recipe import load_recipe
from namprune.stages.goal import multiple
from namprune.stages.grid import at_equal_macs
from namprune.stages.prune import plan, prune


def _recipe(store, *overrides):
    return load_recipe(str(store.open("dense").recipe), overrides=overrides)


def test_a_run_says_what_it_was_to_reach_and_reached(store) -> None:
    dense = store.open("dense").result().final.complexity
    recipe = _recipe(store, "prune.target_params=0.4")
    result = prune(store.open("dense"), recipe, store=store)
    read = store.open("dense-params40").result()
    assert read == result
    assert read.cut is not None
    assert read.cut.target is not None
    assert read.cut.aim == "0.4x parameters"
    assert read.final.complexity.params / dense.params == read.cut.target.reached == pytest.approx(0.4, rel=0.02)


def test_the_file_of_a_run_is_as_small_as_asked(store) -> None:
    recipe = _recipe(store, "prune.target_size=120kB", "prune.recalibrate=0", "finetune.epochs=0")
    name = prune(store.open("dense"), recipe, store=store).name
    assert name == "dense-size120kB"
    assert store.open(name).weights.stat().st_size == pytest.approx(120_000, rel=0.02)


def test_a_dry_run_by_accuracy_drop_reads_the_validation_pictures(store) -> None:
    planned = plan(store.open("dense"), _recipe(store, "prune.max_drop=30"))
    assert isinstance(planned, PruningPlan)
    assert planned.target is not None
    assert (planned.target.key, planned.target.reached <= 30) == ("max_drop", True)


def test_an_unreachable_latency_says_what_the_network_has(store, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(PruneError, match=r"target_latency: 100 s is more than the network has, \d"):
        plan(store.open("dense"), _recipe(store, "prune.target_latency=100s", "prune.latency_batch=2"))


@pytest.mark.parametrize(("round_to", "device", "width"), [("auto", "cpu", 16), ("auto", "cuda", 8), ("4", "cpu", 4)])
def test_auto_is_what_the_device_is_fast_at(store, round_to, device, width) -> None:
    assert multiple(_recipe(store, f"prune.round_to={round_to}").prune, torch.device(device)) == width


def test_controls_need_a_share_of_the_macs(store) -> None:
    recipe = _recipe(store, "prune.target_size=120kB")
    with pytest.raises(UserError, match="equal MACs, the recipe's cut goes to size120kB"):
        at_equal_macs(recipe, [recipe.prune], classes=10, input_shape=(1, 8, 8))
