"""Which way of computing a network trains fastest here, and what determinism costs: trials on copies, in turns."""

import copy
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias, TypeVar

import torch
from torch import nn
from torch.nn import functional as F

from namprune import distributed, signals
from namprune.choices import Precision
from namprune.data.images import Batch
from namprune.device import autocast, deterministic
from namprune.distributed import Forward
from namprune.errors import UserError
from namprune.table import quantity
from namprune.training.state import generator_tensors, load_generators

WARM_UP, BLOCKS, BLOCK_STEPS = 3, 5, 4
"""Steps before the clock runs (CUDA graphs are recorded in the third), turns of each way, and steps of a turn."""

Way: TypeAlias = Literal["eager", "compile", "graphs"]
Key = TypeVar("Key")

_OPTIONS: dict[Way, dict[str, Any]] = {"compile": {}, "graphs": {"mode": "reduce-overhead"}}
"""Of torch.compile."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What a trial found of one way. A way that cannot be gone has no time but a fault."""

    way: Way
    seconds: float | None
    """Of a training step, median."""
    build_seconds: float
    """Of its first step, in which it is compiled."""
    fault: str | None = None


@dataclass(frozen=True, kw_only=True)
class Trial:
    """All ways that were tried, and the fastest: by name, and as what computes the network."""

    tried: tuple[Tried, ...]
    fastest: Way
    forward: Forward

    def __str__(self) -> str:
        """`eager 41.2 ms a step; compile 30.1 ms a step after 25.9 s; compile is taken`."""
        return "; ".join([*map(_told, self.tried), f"{self.fastest} is taken"])


def forward_of(model: nn.Module, way: Way) -> Forward:
    """What computes `model` in that way, with its own parameters; compiled as it is first called.

    What earlier networks compiled is dropped: it would count against the number of variants that are compiled at all.
    """
    if way != "eager":
        torch.compiler.reset()
    return _computing(model, way)


def fastest_forward(
    model: nn.Module, batches: Sequence[Batch], *, precision: Precision, device: torch.device, graphs: bool = True
) -> Trial:
    """Try training steps of copies of `model`, which stays as it is, eager and compiled, and take what is fastest.

    `batches` are as the training gives them to the network. On CUDA the compiled steps are also tried as CUDA graphs,
    unless `graphs` says that gradients must outlive the next pass. The winner's code serves `model`, too. Of a group
    the first process's trial counts.
    """
    torch.compiler.reset()
    ways: list[Way] = ["eager", "compile", *(("graphs",) if graphs and device.type == "cuda" else ())]
    with _generators_kept(device):
        steps = {way: _Steps(model, batches, way=way, precision=precision, device=device) for way in ways}
        begun = {way: _begin(one) for way, one in steps.items()}
        taken = _interleaved({way: one for way, one in steps.items() if begun[way].fault is None})
    times = {way: statistics.median(seconds) for way, seconds in taken.items()}
    tried = tuple(
        Tried(way=way, seconds=times.get(way), build_seconds=one.seconds, fault=one.fault) for way, one in begun.items()
    )
    fastest = min(times, key=lambda way: times[way])
    fastest = ways[distributed.largest(ways.index(fastest) if distributed.rank() == 0 else 0)]
    return Trial(tried=tried, fastest=fastest, forward=_computing(model, fastest))


def price_of_determinism(
    model: nn.Module, batches: Sequence[Batch], *, precision: Precision, device: torch.device
) -> float:
    """Time of a training step with `deterministic(True)` over that without; `model` stays as it is.

    Raises:
        UserError: an operation of the network has no deterministic algorithm on the device.
    """
    with _generators_kept(device):
        steps = {
            on: _Steps(model, batches, precision=precision, device=device, context=partial(deterministic, on))
            for on in (True, False)
        }
        try:
            for one in steps.values():
                one.take(WARM_UP)
        except RuntimeError as error:
            if "deterministic" not in str(error):
                raise
            operation = str(error).partition(" does not have")[0]
            raise UserError(
                f"runtime.deterministic: {operation} of this network has no deterministic algorithm on {device}",
                hint="leave it out, or take another attention",
            ) from error
        taken = _interleaved(steps)
    return statistics.median(on / off for on, off in zip(taken[True], taken[False], strict=True))


class _Steps:
    """Training steps of a copy of a network; the optimizer is the same whatever is compared."""

    def __init__(
        self,
        model: nn.Module,
        batches: Sequence[Batch],
        *,
        way: Way = "eager",
        precision: Precision,
        device: torch.device,
        context: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.way: Way = way
        self.context, self.precision, self.device = context, precision, device
        self.batches = itertools.cycle(batches)
        network = copy.deepcopy(model).train()
        self.forward = _computing(network, way)
        self.optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, fused=True)

    def take(self, count: int) -> float:
        """Seconds that so many steps took, on the device as well."""
        with self.context():
            self._wait()
            started = time.perf_counter()
            for x, y in itertools.islice(self.batches, count):
                self.optimizer.zero_grad()
                with autocast(self.precision, self.device):
                    loss = F.cross_entropy(self.forward(x).float(), y)
                loss.backward()  # type: ignore[no-untyped-call]
                self.optimizer.step()
                signals.poll()
            self._wait()
        return time.perf_counter() - started

    def _wait(self) -> None:
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)


def _computing(model: nn.Module, way: Way) -> Forward:
    # One size for all steps: kernels for any size are slower.
    return model if way == "eager" else torch.compile(model, dynamic=False, **_OPTIONS[way])


@dataclass(frozen=True)
class _Begun:
    seconds: float
    fault: str | None


def _begin(steps: _Steps) -> _Begun:
    """The first steps; what goes wrong in those of a compiled network is said, not raised."""
    try:
        seconds = steps.take(1)
        steps.take(WARM_UP - 1)
    except Exception as error:
        if steps.way == "eager":
            raise
        return _Begun(0.0, f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
    return _Begun(seconds, None)


def _interleaved(steps: Mapping[Key, _Steps]) -> dict[Key, list[float]]:
    """Seconds of a step in each block, all in turns, so that a busy machine hits all alike."""
    taken: dict[Key, list[float]] = {key: [] for key in steps}
    for _ in range(BLOCKS):
        for key, one in steps.items():
            taken[key].append(one.take(BLOCK_STEPS) / BLOCK_STEPS)
    return taken


@contextmanager
def _generators_kept(device: torch.device) -> Iterator[None]:
    """Afterwards PyTorch's global generators stand where they stood."""
    states = generator_tensors(device)
    try:
        yield
    finally:
        load_generators(device, states)


def _told(tried: Tried) -> str:
    if tried.fault is not None:
        return f"{tried.way} failed ({tried.fault})"
    built = "" if tried.way == "eager" else f" after {quantity(tried.build_seconds, 's')}"
    return f"{tried.way} {quantity(tried.seconds, 's')} a step{built}"
