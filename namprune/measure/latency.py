"""Measured time of a forward pass: networks in turns, in one process, so that a busy machine hits all alike."""

import copy
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from namprune import console
from namprune.device import deterministic
from namprune.result import Latency
from namprune.signals import poll

# The benchmark module loads PyTorch's extension builder, which warns of every CUDA toolkit without a GPU.
logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
from torch.utils.benchmark import Measurement, Timer  # noqa: E402

BLOCKS = 15
BLOCK_SECONDS = 0.02
"""A block runs a network as often as fits this time, at least once."""

Forward = Callable[[], object]
"""One forward pass of a network that is loaded, on an input that is there."""


def interleaved_latency(
    models: Mapping[str, nn.Module],
    input_shape: tuple[int, int, int],
    *,
    batch: int,
    channels_last: bool = True,
    blocks: int = BLOCKS,
) -> dict[str, Latency]:
    """`interleaved` of networks in eval mode, as PyTorch runs them.

    Copies are timed: the networks, all on one device, stay as they are.
    """
    forwards = {
        name: eager(copy.deepcopy(model), input_shape, batch=batch, channels_last=channels_last)
        for name, model in models.items()
    }
    device = next(next(iter(models.values())).parameters()).device
    return interleaved(forwards, batch=batch, blocks=blocks, device=device)


def interleaved(
    forwards: Mapping[str, Forward], *, batch: int, device: torch.device, blocks: int = BLOCKS
) -> dict[str, Latency]:
    """Median and IQR of one forward pass of `batch` pictures per network, over `blocks` blocks taken in turns.

    Two passes before each block are warm-up, and not counted.
    """
    timers = {
        name: Timer("forward()", globals={"forward": forward}, num_threads=torch.get_num_threads())
        for name, forward in forwards.items()
    }
    taken: dict[str, list[Measurement]] = {name: [] for name in timers}
    # The clock waits for the current device alone; and what is said of a network is its best speed, however it trains.
    current = device.index if device.type == "cuda" else None
    with torch.accelerator.device_index(current), deterministic(False):
        runs = {name: max(1, int(BLOCK_SECONDS / timer.timeit(1).median)) for name, timer in timers.items()}
        with console.watched(range(blocks), blocks, f"timing batch {batch}") as turns:
            for _ in turns:
                for name, timer in timers.items():
                    poll()
                    taken[name].append(timer.timeit(runs[name]))
    return {name: _latency(batch, block) for name, block in taken.items()}


def eager(model: nn.Module, input_shape: tuple[int, int, int], *, batch: int, channels_last: bool) -> Forward:
    """Passes of a network that is brought to eval mode and the memory format, with noise on its device as input."""
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    model = model.eval().to(memory_format=memory_format)
    x = torch.randn(batch, *input_shape, device=next(model.parameters()).device).to(memory_format=memory_format)

    def forward() -> Tensor:
        with torch.inference_mode():
            logits: Tensor = model(x)
        return logits

    return forward


@contextmanager
def on_threads(count: int | None) -> Iterator[int]:
    """Until it is left, PyTorch computes with so many threads of the processor, None: as many as now; their number."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(count or before)
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def _latency(batch: int, blocks: Sequence[Measurement]) -> Latency:
    (merged,) = Measurement.merge(blocks)
    return Latency(batch=batch, median=merged.median, iqr=merged.iqr, blocks=len(blocks))
