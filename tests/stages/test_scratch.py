"""The shape of a pruned run, trained from fresh weights."""

import shutil

import pytest
import torch
from safetensors.torch import load_file

from namprune.errors import RunError
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
