"""Latencies that were measured on this device before, so that a search need not measure them again.

One JSON file per device, network, input, batch and threads under `$XDG_CACHE_HOME/namprune` (`~/.cache/namprune`);
whoever doubts its figures deletes it.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from namprune.cache import cache_folder
from namprune.device import describe_environment
from namprune.errors import RunError
from namprune.result import record_from_json, to_json
from namprune.runs import write_atomic

Pair = tuple[float, float]
"""Median seconds of a narrowed network, and of the uncut one in turns with it."""


@dataclass(frozen=True, kw_only=True)
class LatencyTable:
    """Pairs by the widths of the narrowed network."""

    device: str
    threads: int
    torch_version: str
    network: str
    """SHA-256 of its layers and the shapes of its tensors: equal for all trainings of one architecture."""
    input_shape: tuple[int, int, int]
    batch: int
    channels_last: bool
    taken: dict[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        model: nn.Module,
        input_shape: tuple[int, int, int],
        *,
        batch: int,
        channels_last: bool,
        device: torch.device,
    ) -> "LatencyTable":
        """The table of a network on a device as it lies in the cache, or an empty one."""
        here = describe_environment(device)
        shapes = [(name, tuple(tensor.shape)) for name, tensor in model.state_dict().items()]
        empty = cls(
            device=here.device,
            threads=here.threads,
            torch_version=here.versions["torch"],
            network=hashlib.sha256(f"{model}{shapes}".encode()).hexdigest(),
            input_shape=input_shape,
            batch=batch,
            channels_last=channels_last,
        )
        try:
            return record_from_json(cls, empty.path.read_text(encoding="utf-8"), source=str(empty.path))
        except (OSError, ValueError, RunError):  # none, or broken: it is made anew
            return empty

    @property
    def path(self) -> Path:
        """Its file."""
        machine = (self.device, self.threads, self.torch_version)
        key = (machine, self.network, self.input_shape, self.batch, self.channels_last)
        return cache_folder() / f"latency-{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.json"

    def look_up(self, widths: str, measure: Callable[[], Pair]) -> Pair:
        """What was taken of a network of these widths; if nothing was, it is measured now and written down."""
        if widths not in self.taken:
            self.taken[widths] = measure()
            with suppress(OSError, RunError):  # where nothing can be kept, it is only measured again
                self.path.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(self.path, to_json(self))
        return self.taken[widths]
