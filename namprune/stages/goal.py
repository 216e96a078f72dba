"""What a recipe asks a cut to reach, as a goal of the search, and the widths that a device is fast at."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import nn

from namprune.data import Data
from namprune.data.images import Batch
from namprune.measure.accuracy import EVAL_BATCH
from namprune.pruning import Goal, accuracy_drop, file_size, latency_target, params_share
from namprune.recipe.schema import PruneSection, Recipe
from namprune.recipe.units import bytes_of, latency_of

FAST_WIDTHS = {"cpu": 16, "cuda": 8, "mps": 8}
"""Lanes of AVX-512 in float32; what tensor cores take in bf16."""


def multiple(section: PruneSection, device: torch.device) -> int:
    """The `round_to` of a recipe, with `auto` as what the device is fast at."""
    return FAST_WIDTHS[device.type] if section.round_to == "auto" else section.round_to


def build_goal(
    model: nn.Module,
    recipe: Recipe,
    input_shape: tuple[int, int, int],
    data: Data | None,
    *,
    dense: nn.Module | None = None,
) -> Goal | None:
    """The goal of a recipe for its network, on its device; None for a share of the channels or of the MACs.

    `data` is what the network was trained on; only `max_drop` reads it. Shares are of `dense`, of the network itself
    where that is not given.
    """
    section = recipe.prune
    if section.target_params is not None:
        return params_share(section.target_params, of=sum(one.numel() for one in (dense or model).parameters()))
    if section.target_size is not None:
        return file_size(bytes_of(section.target_size))
    if section.target_latency is not None:
        value, kind = latency_of(section.target_latency)
        return latency_target(
            model,
            input_shape,
            seconds=value if kind == "seconds" else None,
            share=value if kind == "share" else None,
            batch=section.latency_batch,
            channels_last=recipe.runtime.channels_last,
            dense=dense,
        )
    if section.max_drop is not None and data is not None:
        return accuracy_drop(
            model,
            section.max_drop,
            validation=partial(data.val.ordered, batch_size=EVAL_BATCH),
            calibration=partial(_calibration, data, recipe),
            limit=section.recalibrate,
            precision=recipe.runtime.precision,
        )
    return None


def _calibration(data: Data, recipe: Recipe) -> Iterator[Batch]:
    """The batches that the cut network is recalibrated on."""
    return data.train.shuffled(batch_size=recipe.finetune.batch_size, seed=recipe.seed, epoch=0)
