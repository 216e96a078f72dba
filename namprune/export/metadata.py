"""What a file says of the network in it: texts by name, which every format has a place for."""

import json
from importlib.metadata import version

from namprune.export.shipped import Moments
from namprune.result import Quantize, RunResult

RESIZE = "shorter side, antialiased bilinear, centre crop"
"""How a picture of any size is brought to the network's."""


def describe(result: RunResult, *, moments: Moments, inside: bool, quantize: Quantize, weights: str) -> dict[str, str]:
    """Classes, preprocessing and origin of a run's network; lists and objects as JSON.

    `inside`: the preprocessing from bytes on is a part of the network. `weights`: name of the file of the run's.
    """
    channels, side, _ = result.input_shape
    mean, std = moments
    preprocessing = {
        "side": side,
        "channels": channels,
        "colour": "RGB" if channels == 3 else "L",
        "resize": RESIZE,
        "mean": mean,
        "std": std,
        "inside": inside,
        "input": "pixels" if inside else "pictures",
        "layout": "NHWC" if inside else "NCHW",
        "dtype": "uint8" if inside else "float32",
    }
    cost = result.final.complexity
    texts = {
        "classes": json.dumps(result.classes),
        "preprocessing": json.dumps(preprocessing),
        "quantize": quantize,
        "run": result.name,
        "version": version("namprune"),
        "recipe_digest": result.recipe_digest,
        "data_digest": result.data_digest,
        "weights_sha256": result.files[weights],
        "macs": str(cost.macs),
        "params": str(cost.params),
    }
    return {f"namprune.{key}": text for key, text in texts.items()}
