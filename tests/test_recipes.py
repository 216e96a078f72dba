"""Every shipped recipe holds, comes back equal, and says what it is for."""

import json
from pathlib import Path

import pytest

from namprune.recipe import (
    ShippedRecipe,
    dump_recipe,
    load_recipe,
    parse_recipe,
    recipe_schema,
    shipped_recipes,
)

FOLDER = Path(__file__).parent.parent / "recipes"
every_recipe = pytest.mark.parametrize("shipped", shipped_recipes(), ids=lambda shipped: shipped.name)


def test_the_package_ships_the_folder() -> None:
    assert [recipe.name for recipe in shipped_recipes()] == sorted(path.stem for path in FOLDER.glob("*.yaml"))


@every_recipe
def test_it_holds_by_name_and_as_a_file(shipped: ShippedRecipe) -> None:
    assert load_recipe(shipped.name) == load_recipe(str(FOLDER / f"{shipped.name}.yaml"))


@every_recipe
def test_it_comes_back_equal(shipped: ShippedRecipe) -> None:
    recipe = load_recipe(shipped.name)
    assert parse_recipe(dump_recipe(recipe), source="dump") == recipe


@every_recipe
def test_it_runs_without_attention_by_one_override(shipped: ShippedRecipe) -> None:
    recipe = load_recipe(shipped.name, overrides=["attention.name=none", "sparsity.on=all"])
    assert recipe.attention.name == "none"


@every_recipe
def test_it_begins_with_its_schema_and_a_summary(shipped: ShippedRecipe) -> None:
    schema, summary = shipped.text.splitlines()[:2]
    assert schema == "# yaml-language-server: $schema=recipe.schema.json"
    assert summary == f"# {shipped.summary}"
    assert 30 < len(shipped.summary) < 110


def test_no_two_recipes_share_a_summary() -> None:
    summaries = [recipe.summary for recipe in shipped_recipes()]
    assert len(set(summaries)) == len(summaries)


def test_the_schema_file_is_up_to_date() -> None:
    text = (FOLDER / "recipe.schema.json").read_text(encoding="utf-8")
    assert text == recipe_schema()
    assert set(json.loads(text)["required"]) == {"data", "model", "train", "finetune"}


def test_the_paper_s_protocol() -> None:
    train = load_recipe("resnet50-cifar100").train
    assert (train.epochs, train.batch_size, train.optimizer, train.lr) == (200, 128, "sgd", 0.1)
    assert (train.milestones, train.decay, train.weight_decay) == ((60, 120, 160), 0.2, 5e-4)


@pytest.mark.parametrize(("overrides", "epochs"), [((), 40), (("train.epochs=2",), 1), (("finetune.epochs=7",), 7)])
def test_fine_tuning_takes_a_fifth_of_the_training_unless_it_is_said(overrides, epochs) -> None:
    assert load_recipe("mobilenetv2", overrides=overrides).finetune.epochs == epochs
