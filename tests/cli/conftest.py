"""A run that commands can be tried on, without training."""

import pytest

from namprune.checkpoint import to_bytes
from namprune.models import build_model
from namprune.recipe import dump_recipe, load_recipe


@pytest.fixture
def run(store, make_result):
    """A finished run of an untrained network."""
    recipe = load_recipe("quickstart", overrides=["model.width=0.25", "runtime.device=cpu"])
    model = build_model(recipe, classes=10, input_shape=(1, 8, 8))
    folder = store.create("r", recipe=dump_recipe(recipe))
    folder.write(folder.weights, to_bytes(model))
    folder.finish(make_result("r", classes=tuple("0123456789"), input_shape=(1, 8, 8)))
    return folder
