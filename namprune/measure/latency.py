"""Measured time of a forward pass: networks in turns, in one process, so that a busy machine hits all alike."""

import copy
import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from namprune.device import deterministic
from namprune.result import Latency
from namprune.signals import poll

# The benchmark module loads PyTorch's extension builder, which warns of every CUDA toolkit without a GPU.
logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
from torch.utils.benchmark import Measurement, Timer  # noqa: E402

BLOCKS = 15
BLOCK_SECONDS = 0.02
"""A block runs a network as often as fits this time, at least once."""


def interleaved_latency(
    models: Mapping[str, nn.Module],
    input_shape: tuple[int, int, int],
    *,
    batch: int,
    channels_last: bool = True,
    blocks: int = BLOCKS,
) -> dict[str, Latency]:
    """Median and IQR of one forward pass in eval mode per network, over `blocks` blocks taken in turns.

    The first run of each network is warm-up and is thrown away. Copies are timed: the networks, all on one device,
    stay as they are.
    """
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    timers: dict[str, Timer] = {}
    for name, model in models.items():
        device = next(model.parameters()).device
        x = torch.randn(batch, *input_shape, device=device).to(memory_format=memory_format)
        timers[name] = Timer(
            "forward(model, x)",
            globals={"forward": _forward, "model": copy.deepcopy(model).eval().to(memory_format=memory_format), "x": x},
            num_threads=torch.get_num_threads(),
        )
    taken: dict[str, list[Measurement]] = {name: [] for name in timers}
    # The clock waits for the current device alone; and what is said of a network is its best speed, however it trains.
    current = device.index if device.type == "cuda" else None
    with torch.accelerator.device_index(current), deterministic(False):
        runs = {name: max(1, int(BLOCK_SECONDS / timer.timeit(1).median)) for name, timer in timers.items()}
        for _ in range(blocks):
            for name, timer in timers.items():
                poll()
                taken[name].append(timer.timeit(runs[name]))
    return {name: _latency(batch, block) for name, block in taken.items()}


def _forward(model: nn.Module, x: Tensor) -> Tensor:
    with torch.inference_mode():
        logits: Tensor = model(x)
    return logits


def _latency(batch: int, blocks: Sequence[Measurement]) -> Latency:
    (merged,) = Measurement.merge(blocks)
    return Latency(batch=batch, median=merged.median, iqr=merged.iqr, blocks=len(blocks))
