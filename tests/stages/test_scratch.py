"""The shape of a pruned run, trained from fresh weights."""

import shutil

import pytest
import torch
from safetensors.torch import load_file

from namprune.errors import RunError, UserError
from namprune.recipe import load_recipe
from namprune.runs import RunStore
from namprune.stages.prune import prune
from namprune.stages.scratch import scratch

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pruned(trained, tmp_path_factory):
    store = RunStore(tmp_path_factory.mktemp("scratch") / "runs")
    shutil.copytree(trained[0].root, store.root)
    dense = store.open("dense")
    recipe = load_recipe(str(dense.recipe), overrides=["prune.target_macs=0.4"])
    return store, store.open(prune(dense, recipe, store=store, name="scratch-parent").name), recipe


def test_it_has_the_widths_and_the_epochs_but_not_the_weights(pruned) -> None:
    store, parent, recipe = pruned
    result = scratch(parent, recipe, store=store)
    folder, shape = store.open(result.name), parent.result()
    assert (result.name, result.kind, result.parent) == ("scratch-parent-scratch", "scratch", "scratch-parent")
    assert (result.dense, result.dense_weights, result.cut) == (shape.dense, shape.dense_weights, shape.cut)
    assert result.epochs == recipe.train.epochs + recipe.finetune.epochs
    assert result.final.complexity == shape.final.complexity
    assert (result.final.stage, result.final.test is not None) == ("trained", True)
    ours, theirs = load_file(folder.weights), load_file(parent.weights)
    assert {name: tensor.shape for name, tensor in ours.items()} == {name: t.shape for name, t in theirs.items()}
    assert not torch.equal(ours["stem.0.weight"], theirs["stem.0.weight"])
    own = load_recipe(str(folder.recipe))
    assert (own.train.epochs, own.finetune.epochs, own.sparsity.l1_gamma) == (result.epochs, 0, 0)


def test_only_a_pruned_run_has_a_shape_to_train(pruned, tmp_path) -> None:
    store, _, recipe = pruned
    with pytest.raises(RunError, match="'dense' was not pruned"):
        scratch(store.open("dense"), recipe, store=RunStore(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_a_shape_cut_twice_has_the_epochs_of_both(pruned) -> None:
    store, parent, recipe = pruned
    twice = prune(parent, recipe, store=store, name="twice")
    result = scratch(store.open("twice"), recipe, store=store)
    assert result.epochs == recipe.train.epochs + 2 * recipe.finetune.epochs
    assert result.final.complexity == twice.final.complexity


def test_no_epochs_train_nothing(pruned) -> None:
    store, parent, recipe = pruned
    none = {key: getattr(recipe, key).model_copy(update={"epochs": 0}) for key in ("train", "finetune")}
    with pytest.raises(UserError, match="'scratch-parent' and what it was cut from had no epochs"):
        scratch(parent, recipe.model_copy(update=none), store=store, name="never")
    assert not (store.root / "never").exists()


@pytest.mark.parametrize("change", ["model.width=1.0", "prune.ratio=0.9", "attention.name=none"])
def test_what_would_not_be_its_shape_is_refused_by_its_key(pruned, change) -> None:
    store, parent, _ = pruned
    other = load_recipe(str(parent.recipe), overrides=[change])
    with pytest.raises(UserError, match=rf"^{change.partition('.')[0]}[\w.]*: run 'scratch-parent' was made with"):
        scratch(parent, other, store=store, name="never")
    assert not (store.root / "never").exists()
