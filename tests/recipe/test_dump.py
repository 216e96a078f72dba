"""What is written reads back equal, and the digest tells experiments apart."""

import json
from pathlib import Path
from typing import Literal

import pytest
import yaml

from namprune.recipe import Recipe, dump_recipe, load_recipe, parse_recipe, recipe_digest
from namprune.recipe.attention import NAMSection
from namprune.recipe.data import DataSection
from namprune.recipe.fit import FinetuneSection, TrainSection
from namprune.recipe.model import NamedModel

RECIPE = Recipe(
    seed=3,
    data=DataSection(name="digits"),
    model=NamedModel(name="resnet20"),
    attention=NAMSection(name="nam", part="both"),
    train=TrainSection(epochs=200, schedule="step", milestones=(60, 120)),
    finetune=FinetuneSection(epochs=0),
)

WORDS = "1e-4 12 .5e3 1_000 true yes on null ~ = << .inf 0x10 2024-01-01 --- ... &a *a !a %a [1] ' \" \\ é 😀"
ROOTS = [*WORDS.split(), "", " ", "a: b", "# a", "- a", "? a", "a\nb", "a\n\n b ", "\t", "\0", "\x7f", "\x85"]
ROOTS += ["\u2028", "\ufeff", "word " * 60]


def with_root(root: str) -> Recipe:
    return RECIPE.model_copy(update={"data": DataSection(name="digits", root=root)})


@pytest.mark.parametrize("lr", [0.1, 1e-4, 5e-324, 1e22, 1.7976931348623157e308, 0.1 + 0.2, 3.0, 1 / 3])
def test_floats_come_back_exactly(lr: float) -> None:
    recipe = RECIPE.model_copy(update={"train": TrainSection(epochs=1, lr=lr)})
    assert parse_recipe(dump_recipe(recipe), source="x").train.lr == lr


@pytest.mark.parametrize("root", ROOTS)
def test_text_comes_back_exactly(root: str) -> None:
    recipe = with_root(root)
    assert parse_recipe(dump_recipe(recipe), source="x") == recipe


def test_every_key_is_written_in_the_order_of_the_schema() -> None:
    tree = yaml.safe_load(dump_recipe(RECIPE))  # an independent reader: the file is plain YAML for others, too
    assert tree == json.loads(RECIPE.model_dump_json())
    assert list(tree) == list(Recipe.model_fields)
    assert list(tree["train"]) == list(TrainSection.model_fields)
    assert "milestones: [60, 120]\n" in dump_recipe(RECIPE)


def test_repetitions_of_an_experiment_share_their_digest() -> None:
    def digest(*overrides: str, kind: Literal["train", "prune"] = "prune") -> str:
        return recipe_digest(parse_recipe(dump_recipe(RECIPE), source="x", overrides=overrides), kind=kind)

    assert len(digest()) == 64
    elsewhere = ["runtime.device=cpu", "runtime.deterministic=true", "runtime.compile=true", "data.root=elsewhere"]
    assert digest("seed=9", "runtime.track=mlflow", *elsewhere) == digest()
    others = ["train.lr=0.2", "data.limit=100", "prune.ratio=0.5", "finetune.lr=0.3", "runtime.precision=bf16"]
    assert len({digest(), *map(digest, others)}) == 6
    # what comes after training is no part of it
    later = [digest(other, kind="train") for other in ("prune.ratio=0.5", "finetune.lr=0.3")]
    assert {digest(kind="train")} == set(later)


def test_the_order_of_patterns_is_part_of_the_experiment() -> None:
    orders = ["{a: 0.5, b: 0.6}", "{b: 0.6, a: 0.5}"]
    recipes = [parse_recipe(dump_recipe(RECIPE), source="x", overrides=[f"prune.ratios={one}"]) for one in orders]
    assert len({recipe_digest(recipe, kind="prune") for recipe in recipes}) == 2


def test_runs_made_before_the_later_keys_are_still_recognized() -> None:
    changes = ["data.limit=10000", "train.epochs=10", "train.batch_size=64", "train.warmup=1"]
    recipe = load_recipe("resnet20", overrides=[*changes, "sparsity.l1_gamma=1.5e-3", "runtime.precision=bf16"])
    record = Path(__file__).parents[2] / "benchmarks/results/attention-cifar10-jpeg/dense-nam-s0.json"
    assert recipe_digest(recipe, kind="train") == json.loads(record.read_text())["recipe_digest"]
    changed = recipe.model_copy(update={"sparsity": recipe.sparsity.model_copy(update={"share": 0.5})})
    assert recipe_digest(changed, kind="train") != recipe_digest(recipe, kind="train")


def test_the_digest_of_a_cut_has_not_changed_since_before_the_later_keys() -> None:
    before = "0df63be441db8e9241da2b553ed531031cde530c1c1b66e1dc732500dfb0edba"
    assert recipe_digest(RECIPE, kind="prune") == before


def test_what_bounds_a_removal_while_training_is_part_of_that_training() -> None:
    """And of no other; `prune.ratios` never is."""
    overrides = ["seed=3", "prune.keep=[stem*]", "prune.bottlenecks=keep", "prune.ratios={a: 0.5}"]

    def digests(*how: str) -> list[str]:
        recipes = [parse_recipe(dump_recipe(RECIPE), source="x", overrides=[*how, one]) for one in overrides]
        return [recipe_digest(recipe, kind="train") for recipe in recipes]

    plain, thin = digests(), digests("sparsity.remove_every=2")
    assert len(set(plain)) == 1
    assert len({*plain, *thin}) == 4
    assert thin[0] == thin[3]
