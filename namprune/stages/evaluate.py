"""Measure the accuracy of a run's network again."""

from typing import Literal

from namprune.data import build_data
from namprune.device import pick_device
from namprune.measure import split_accuracy
from namprune.recipe.schema import Recipe
from namprune.result import Accuracy
from namprune.runs import RunFolder
from namprune.stages.network import check_fits, open_network, placed


def evaluate(run: RunFolder, recipe: Recipe, *, split: Literal["test", "val"] = "test") -> Accuracy:
    """Accuracy of a run on a split of its recipe's data.

    Raises:
        RunError: the run is broken.
        DataError: the pictures are missing, or not those the run was trained on.
    """
    model, result = open_network(run, recipe)
    device = pick_device(recipe.runtime.device)
    data = build_data(recipe.data, device=device, channels_last=recipe.runtime.channels_last)
    check_fits(data, result)
    pictures = data.test if split == "test" else data.val
    return split_accuracy(placed(model, recipe, device), pictures, split, precision=recipe.runtime.precision)
