"""What the network of a run takes pictures for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from namprune import console
from namprune.data.picture import check_pictures, normalizer, read_pictures
from namprune.device import autocast, pick_device
from namprune.recipe import Recipe
from namprune.runs import RunFolder
from namprune.signals import poll
from namprune.stages.network import open_network, placed

BATCH = 64
"""Pictures in memory at once."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Of one picture file: the most probable classes, the first one first, each with its probability."""

    file: str
    top: tuple[tuple[str, float], ...]


def predict(run: RunFolder, recipe: Recipe, files: Sequence[Path], *, top: int = 5) -> tuple[Prediction, ...]:
    """The `top` classes of each picture, or all where there are fewer; pictures are read as at evaluation.

    Raises:
        RunError: the run is broken.
        UserError: no such device.
        DataError: naming the files that cannot be read; every file is read before the first prediction.
    """
    device = pick_device(recipe.runtime.device)
    model, result = open_network(run, recipe)
    model = placed(model, recipe, device).eval()
    check_pictures(files, input_shape=result.input_shape)
    normalize = normalizer(recipe.data.name, device=device)
    predictions: list[Prediction] = []
    with console.progress(len(files), "predict") as bar:
        for start in range(0, len(files), BATCH):
            poll()
            some = files[start : start + BATCH]
            pixels = read_pictures(some, input_shape=result.input_shape)  # (N, H, W, C)
            with torch.inference_mode(), autocast(recipe.runtime.precision, device):
                logits = model(normalize(pixels.to(device))).float()  # (N, classes)
            found = logits.softmax(1).topk(min(top, len(result.classes)))
            for file, shares, places in zip(some, found.values.tolist(), found.indices.tolist(), strict=True):
                names = (result.classes[place] for place in places)
                predictions.append(Prediction(file=str(file), top=tuple(zip(names, shares, strict=True))))
            bar.advance(len(some))
    return tuple(predictions)
