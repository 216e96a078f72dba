"""Goals that no arithmetic foretells: a copy of the network is cut for every candidate of the search, and measured."""

import copy
from collections.abc import Callable, Iterable
from functools import partial

from torch import Tensor, nn

from namprune.choices import Precision
from namprune.measure import LatencyTable, accuracy, interleaved_latency
from namprune.pruning.bottleneck import shrink, shrunk
from namprune.pruning.cost import Cost
from namprune.pruning.group import Cuts
from namprune.pruning.knife import remove
from namprune.pruning.repair import recalibrate
from namprune.pruning.target import Goal
from namprune.result import Accuracy

LATENCY_TOLERANCE = 0.05
"""Medians of one network, taken in turns on a machine with other work, repeat to some per cent: no closer is known."""

RESOLUTION = 1 / 128
"""Share of the channels at which a measured search ends: after nine candidates."""

Batches = Iterable[tuple[Tensor, Tensor]]


def latency_target(
    model: nn.Module,
    input_shape: tuple[int, int, int],
    *,
    seconds: float | None = None,
    share: float | None = None,
    batch: int = 64,
    channels_last: bool = True,
    dense: nn.Module | None = None,
) -> Goal:
    """Come to a median latency in float32 on the device of the network: in seconds, or as a share of that of `dense`.

    Measured in turns with `dense`, by default the network as it is, and kept in a `LatencyTable`.

    Raises:
        ValueError: not one of `seconds` and `share`.
    """
    if (seconds is None) == (share is None):
        raise ValueError("give one of seconds and share")
    device = next(model.parameters()).device
    open_table = partial(LatencyTable.of, batch=batch, channels_last=channels_last, device=device)
    table = open_table(model, input_shape)
    beside = f" beside {open_table(dense, input_shape).network}" if dense else ""

    def measure(cost: Cost, cuts: Cuts) -> float:
        if share is not None and dense is None and _whole(cuts):
            return 1.0

        def take() -> tuple[float, float]:
            pair = {"now": candidate(model, cuts, shrinks=cost.shrinks), "before": dense or model}
            taken = interleaved_latency(pair, input_shape, batch=batch, channels_last=channels_last)
            return taken["now"].median, taken["before"].median

        now, before = table.look_up(_widths(cost, cuts) + beside, take)
        return now if share is None else now / before

    return Goal(
        key="target_latency",
        asked=share if seconds is None else seconds,  # type: ignore[arg-type]  # one of them
        unit="x latency" if seconds is None else "s",
        measure=measure,
        tolerance=LATENCY_TOLERANCE,
        resolution=RESOLUTION,
    )


def accuracy_drop(
    model: nn.Module,
    points: float,
    *,
    validation: Callable[[], Batches],
    calibration: Callable[[], Batches],
    limit: int = 32,
    precision: Precision = "fp32",
) -> Goal:
    """Remove as much as costs at most so many points of top-1 on the validation batches, before any fine-tuning.

    The BatchNorm statistics of every candidate are re-estimated over `limit` batches for calibration; with 0 they stay.
    """
    before = accuracy(model, validation(), precision=precision)
    after = partial(
        cut_accuracy,
        model,
        validation=validation,
        calibration=calibration,
        limit=limit,
        precision=precision,
    )

    def measure(cost: Cost, cuts: Cuts) -> float:
        if _whole(cuts):
            return 0.0
        now = after(cuts, shrinks=cost.shrinks)
        return 100 * round((before.top1 - now.top1) * before.images) / before.images  # whole pictures

    return Goal(key="max_drop", asked=points, unit=" points", measure=measure, tolerance=None, resolution=RESOLUTION)


def cut_accuracy(
    model: nn.Module,
    cuts: Cuts,
    *,
    shrinks: bool,
    validation: Callable[[], Batches],
    calibration: Callable[[], Batches],
    limit: int = 32,
    precision: Precision = "fp32",
) -> Accuracy:
    """Accuracy, on the validation batches, of a copy with only the given channels, its BatchNorm statistics
    re-estimated over `limit` batches for calibration; with 0 they stay.
    """
    trial = candidate(model, cuts, shrinks=shrinks)
    if limit:
        recalibrate(trial, calibration(), limit=limit)
    return accuracy(trial, validation(), precision=precision)


def _whole(cuts: Cuts) -> bool:
    return all(len(keep) == group.size for group, keep in cuts)


def candidate(model: nn.Module, cuts: Cuts, *, shrinks: bool) -> nn.Module:
    """A copy of a network with only the given channels; `shrinks`: bottlenecks of attentions shrink with them."""
    trial = copy.deepcopy(model)
    bottlenecks = shrunk(cuts) if shrinks else ()
    remove(trial, cuts)
    shrink(trial, bottlenecks)
    return trial


def _widths(cost: Cost, cuts: Cuts) -> str:
    """What the latency of a narrowed network depends on."""
    narrow = (f"{group.root}:{len(keep)}" for group, keep in cuts if len(keep) < group.size)
    return " ".join([*narrow, "bottlenecks" if cost.shrinks else ""]).strip()
