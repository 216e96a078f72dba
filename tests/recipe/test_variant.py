"""Another attention in the same experiment."""

import pytest

from namprune.recipe import Recipe, load_recipe, recipe_digest
from namprune.recipe.variant import from_scratch, with_attention


def recipe(*overrides):
    return load_recipe("quickstart", overrides=overrides)


def test_the_recipes_own_attention_keeps_its_options() -> None:
    own = recipe("attention.scale=mean", "sparsity.on=nam")
    assert with_attention(own, "nam") == own


def test_another_starts_from_its_defaults_and_nothing_else_changes() -> None:
    own = recipe("attention.placement=interior", "seed=3")
    other = with_attention(own, "se")
    assert other == recipe("attention.name=se", "seed=3")
    assert recipe_digest(other, kind="train") != recipe_digest(own, kind="train")


@pytest.mark.parametrize(("on", "becomes"), [("nam", "all"), ("bn", "bn"), ("all", "all")])
def test_a_penalty_on_nam_finds_another_target(on, becomes) -> None:
    own = recipe(f"sparsity.on={on}", "attention.part=both", "sparsity.l1_lambda=1e-4")
    sparsity = with_attention(own, "none").sparsity
    assert (sparsity.on, sparsity.l1_lambda, sparsity.l1_gamma) == (becomes, 0.0, own.sparsity.l1_gamma)


def test_from_scratch_has_the_budget_in_one_training_and_no_penalty() -> None:
    own = recipe("train.epochs=10", "finetune.epochs=4", "finetune.warmup=1")
    other = from_scratch(own)
    assert (other.train.epochs, other.finetune.epochs, other.sparsity.l1_gamma) == (14, 0, 0)
    assert Recipe.model_validate(other.model_dump()) == other
    assert from_scratch(other) == other
