"""A network that was really trained, on few digits."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from namprune.recipe import Recipe, load_recipe
from namprune.runs import RunFolder, RunStore
from namprune.stages.train import train

SMALL = (
    "data.limit=300",
    "model.width=0.5",
    "train.epochs=2",
    "train.batch_size=32",
    "finetune.epochs=1",
    "finetune.batch_size=32",
    "prune.recalibrate=4",
    "runtime.device=cpu",
)

RecipeFactory = Callable[..., Recipe]


@pytest.fixture(scope="session")
def small_recipe() -> RecipeFactory:
    """The quickstart recipe for a few hundred digits, under further overrides."""

    def make(*overrides: str) -> Recipe:
        return load_recipe("quickstart", overrides=[*SMALL, *overrides])

    return make


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, small_recipe: RecipeFactory) -> tuple[RunStore, RunFolder]:
    """A store with one trained run in it."""
    store = RunStore(Path(tmp_path_factory.mktemp("runs")))
    result = train(small_recipe(), store=store, name="dense")
    return store, store.open(result.name)


@pytest.fixture(scope="module")
def store(trained: tuple[RunStore, RunFolder], tmp_path_factory: pytest.TempPathFactory) -> RunStore:
    """A copy of the trained run to prune from."""
    root = tmp_path_factory.mktemp("pruned")
    shutil.copytree(trained[1].path, root / "dense")
    return RunStore(root)
