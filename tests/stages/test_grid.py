"""The cells of a comparison, without making them."""

import pytest
import torch

from namprune.errors import UserError
from namprune.measure import complexity
from namprune.models import build_model
from namprune.pruning import prune_model
from namprune.recipe import load_recipe
from namprune.recipe.model import TimmModel
from namprune.recipe.schema import SparsitySection
from namprune.stages.grid import at_equal_macs, control_grid, cuts, grid

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("quickstart", overrides=("model.width=0.5", "sparsity.on=nam"))


def test_the_grid_is_attention_by_seed_and_of_each_ratio_by_criterion(recipe) -> None:
    sections = cuts(recipe.prune, ratios=(0.3, 0.125), criteria=("nam", "l1"))
    cells = grid(recipe, attentions=("nam", "none"), cuts=sections, seeds=2)
    assert [cell.label for cell in cells[:6]] == [
        "nam seed 0 trained",
        "nam seed 0 pruned p30 nam global",
        "nam seed 0 pruned p30 l1 global",
        "nam seed 0 pruned p12.5 nam global",
        "nam seed 0 pruned p12.5 l1 global",
        "none seed 0 trained",
    ]
    assert len(cells) == len({cell.name for cell in cells}) == 2 * 2 * (1 + 2 * 2)
    dense, cut = cells[0], cells[3]
    assert (dense.name, dense.recipe) == (f"resnet20-nam-{dense.digest[:8]}-s0", recipe)
    assert (cut.name, cut.parent) == (f"{dense.name}-p12.5-nam", dense.name)
    assert (cut.recipe.prune.ratio, cut.recipe.prune.scope) == (0.125, recipe.prune.scope)
    assert [cell.recipe.seed for cell in cells] == [0] * 10 + [1] * 10
    assert {(cell.recipe.attention.name, cell.recipe.sparsity.on) for cell in cells} == {
        ("nam", "nam"),
        ("none", "all"),
    }


def test_the_longest_name_is_a_name_of_a_run(recipe, store) -> None:
    last = recipe.model_copy(update={"seed": 2**31 - 1})
    longest = last.model_copy(update={"model": TimmModel(source="timm", name="swin_base_patch4_window7_224")})
    sections = cuts(recipe.prune, target_macs=(1 / 3,), criteria=("random",))
    for make, attentions in ((grid, ("ulsam",)), (control_grid, ("nam", "ulsam"))):
        for cell in make(longest, attentions=attentions, cuts=sections, seeds=1):
            store.unused(cell.name)
    with pytest.raises(UserError, match="2147483647"):
        grid(longest, attentions=("nam",), cuts=sections, seeds=2)


def test_controls_are_cuts_of_nam_and_networks_without_its_signal(recipe) -> None:
    sections = cuts(recipe.prune, target_macs=(0.5,))
    cells = control_grid(recipe, attentions=("nam", "se", "none"), cuts=sections, seeds=1)
    assert [cell.label.replace(" seed 0", "") for cell in cells] == [
        "nam trained",
        "nam pruned m50 nam global",
        "nam pruned m50 random global",
        "nam pruned m50 l1 global",
        "nam pruned m50 nam local",
        "nam pruned m50 nam global from scratch",
        "se trained",
        "se pruned m50 nam global",
        "none trained",
        "none pruned m50 nam global",
        "half trained",
        "half pruned m50 nam global",
    ]
    scratch = cells[5]
    assert (scratch.kind, scratch.parent) == ("scratch", cells[1].name)
    assert scratch.recipe.train.epochs == recipe.train.epochs + recipe.finetune.epochs
    assert (scratch.recipe.finetune.epochs, scratch.recipe.sparsity.l1_gamma) == (0, 0)
    with pytest.raises(UserError, match="controls of nam"):
        control_grid(recipe, attentions=("se",), cuts=sections, seeds=1)


def test_a_ratio_becomes_the_macs_of_uniform_width(recipe) -> None:
    sections = cuts(recipe.prune, ratios=(0.25, 0.5), target_macs=(0.4,))
    found = at_equal_macs(recipe, sections, classes=10, input_shape=SHAPE)
    assert [cut.ratio for cut in found] == [None] * 3
    assert found[2].target_macs == 0.4
    for cut, ratio in zip(found[:2], (0.25, 0.5), strict=True):
        network = build_model(recipe, classes=10, input_shape=SHAPE)
        before = complexity(network, SHAPE).macs
        uniform = prune_model(network, torch.rand(1, *SHAPE), ratio=ratio, criterion="random", scope="local").model
        assert cut.target_macs == round(complexity(uniform, SHAPE).macs / before, 2)


def test_controls_need_dense_networks_of_the_same_size(recipe) -> None:
    thinning = recipe.model_copy(update={"sparsity": SparsitySection(remove_every=5)})
    with pytest.raises(UserError, match=r"sparsity\.remove_every leaves each dense network others"):
        at_equal_macs(thinning, [recipe.prune], classes=10, input_shape=SHAPE)
