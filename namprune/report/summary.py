"""One row per experiment: repetitions with other seeds are averaged, each compared with its own dense ancestor."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from namprune.report.collect import Collection
from namprune.result import Cut, Kind, RunResult, Timing

NOISY = 0.1
"""A latency whose inter-quartile range exceeds this share of its median is marked."""

USUAL = ("nam", "global")
"""Criterion and scope that a recipe has where it names no others."""

_ROW_KINDS: dict[Kind, Literal["dense", "pruned", "scratch"]] = {
    "train": "dense",
    "prune": "pruned",
    "scratch": "scratch",
}


@dataclass(frozen=True, kw_only=True)
class LatencySummary:
    """Forward pass of `batch` pictures: `seconds`, and the `ratio` to the dense network, if this is another."""

    batch: int
    seconds: float
    ratio: float | None
    noisy: bool


@dataclass(frozen=True, kw_only=True)
class Row:
    """One experiment over its seeds. What compares with a dense ancestor is None where there is none."""

    data: str
    data_digest: str
    model: str
    attention: str
    kind: Literal["dense", "pruned", "scratch"]
    """`scratch`: the widths of pruned runs, trained from fresh weights."""
    cuts: tuple[str | None, ...]
    """What each cut after the other was asked for, as `Cut.aim` says it; None for one whose run is gone."""
    ratio: float | None
    """Share of all channels that the last cut was asked to remove."""
    target_macs: float | None
    """Share of the MACs that it was asked to keep."""
    criterion: str | None
    scope: str | None
    way: str
    """How it was made, where that is not by one cut as the recipe's defaults have it: `l1 global`, `from scratch`."""
    family: str | None
    """Digest of the dense ancestor's recipe; of a dense network its own."""
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    top1s: tuple[float, ...]
    """Of each seed."""
    top1: float
    """Mean over seeds, a share in [0, 1]."""
    top1_spread: float | None
    """Sample standard deviation over seeds; None for one seed."""
    delta: float | None
    """Percentage points of top-1 gained over the dense ancestor, paired, mean over seeds."""
    macs: float
    macs_ratio: float | None
    params: float
    params_ratio: float | None
    latency: tuple[LatencySummary, ...]
    """By batch size; empty where the runs were not made on one device."""
    devices: tuple[str, ...]
    epochs: int
    dense_epochs: int | None
    """Epochs of the dense ancestor's training."""

    @property
    def point(self) -> str:
        """What was removed, in words: `dense`, `near zero every 5 epochs` where training did it, `0.5 nam global`,
        `0.26x MACs nam global, from scratch`."""
        cuts = " then ".join(cut or "?" for cut in self.cuts)
        if self.kind == "dense":
            return cuts or "dense"
        return f"{cuts} {self.criterion} {self.scope}{', from scratch' if self.kind == 'scratch' else ''}"


def short(attention: str) -> str:
    """Its name alone: `nam` of `nam (channel, block)`."""
    return attention.partition(" ")[0]


def summarise(collection: Collection) -> tuple[Row, ...]:
    """Rows along the trade-off: by data, model and attention, then from many MACs to few."""
    groups: dict[tuple[object, ...], list[RunResult]] = defaultdict(list)
    for result in collection.results:
        groups[_key(result, collection.known)].append(result)
    rows = (_row(group, collection.known) for group in groups.values())
    return tuple(sorted(rows, key=lambda row: (row.data, row.model, row.attention, -row.macs, row.runs)))


def _key(result: RunResult, known: Mapping[str, RunResult]) -> tuple[object, ...]:
    """What repetitions of one experiment share: all but the seed, the device and the names."""
    cut = (result.cut.aim, result.cut.criterion, result.cut.scope, result.cut.round_to) if result.cut else ()
    dense = dense_of(result, known)
    return (
        (result.data, result.data_digest, result.model, result.attention, result.kind, result.recipe_digest),
        (cut, _cuts(result, known), dense.recipe_digest if dense else None),
    )


def _cuts(result: RunResult, known: Mapping[str, RunResult]) -> tuple[str | None, ...]:
    """The cuts from the dense ancestor down to this run: pruned twice is no repetition of pruned once."""
    if result.cut is None:
        return ()
    own = (result.cut.aim,)
    if result.parent is None or result.parent == result.dense:
        dense = dense_of(result, known)
        return (_cuts(dense, known) if dense else ()) + own  # it may have lost channels in training
    parent = known.get(result.parent)
    if parent is None:
        return own if result.kind == "scratch" else (None, *own)
    return _cuts(parent, known) + (own if result.kind == "prune" else ())


def dense_of(result: RunResult, known: Mapping[str, RunResult]) -> RunResult | None:
    """The dense ancestor of a run; None where there is none, or none of which that is known."""
    dense = known.get(result.dense or "")
    if dense is None or dense.files["model.safetensors"] != result.dense_weights:
        return None  # gone, or another run has taken its name since
    return dense


def _row(group: Sequence[RunResult], known: Mapping[str, RunResult]) -> Row:
    first = group[0]
    dense_of_first = dense_of(first, known)
    pairs = [(result, dense) for result in group if (dense := dense_of(result, known))]
    trained = first if first.kind == "train" else dense_of_first
    top1 = _per_seed((result, _top1(result)) for result in group)
    delta = _per_seed((result, 100 * (_top1(result) - _top1(dense))) for result, dense in pairs)
    devices = tuple(sorted({result.environment.device for result in group}))
    return Row(
        data=first.data,
        data_digest=first.data_digest,
        model=first.model,
        attention=first.attention,
        kind=_ROW_KINDS[first.kind],
        cuts=_cuts(first, known),
        ratio=_asked_ratio(first.cut),
        target_macs=first.cut.target_macs if first.cut else None,
        criterion=first.cut.criterion if first.cut else None,
        scope=first.cut.scope if first.cut else None,
        way=_way(first, cuts=len(_cuts(first, known)), thinned=bool(dense_of_first and dense_of_first.cut)),
        family=trained.recipe_digest if trained else None,
        runs=tuple(sorted(result.name for result in group)),
        seeds=tuple(sorted(top1)),
        top1s=tuple(top1[seed] for seed in sorted(top1)),
        top1=fmean(top1.values()),
        top1_spread=stdev(top1.values()) if len(top1) > 1 else None,
        delta=fmean(delta.values()) if delta else None,
        macs=fmean(_macs(result) for result in group),
        macs_ratio=fmean(_macs(run) / _macs(dense) for run, dense in pairs) if pairs else None,
        params=fmean(_params(result) for result in group),
        params_ratio=fmean(_params(run) / _params(dense) for run, dense in pairs) if pairs else None,
        latency=_latency(group) if len(devices) == 1 else (),
        devices=devices,
        epochs=first.epochs,
        dense_epochs=dense_of_first.epochs if dense_of_first else None,
    )


def _way(result: RunResult, *, cuts: int, thinned: bool) -> str:
    """What a plot must tell apart. `cuts` of the network one after the other, the first in training if `thinned`."""
    cut = result.cut
    if cut is None or result.kind == "train":
        return "removed in training" if cut else ""
    words = (
        "removed in training" * thinned,
        f"{cut.criterion} {cut.scope}" * ((cut.criterion, cut.scope) != USUAL),
        f"{cuts - thinned} cuts" * (cuts - thinned > 1),
        f"{cut.steps} steps" * (cut.steps > 1),
        "layers apart" * cut.apart,
        "from scratch" * (result.kind == "scratch"),
    )
    return ", ".join(filter(None, words))


def _asked_ratio(cut: Cut | None) -> float | None:
    found = cut is None or cut.every or cut.apart or cut.target or cut.target_macs is not None
    return None if cut is None or found else cut.ratio


def _per_seed(values: Iterable[tuple[RunResult, float]]) -> dict[int, float]:
    """Mean of each seed: running a seed twice is not a second sample."""
    by_seed: dict[int, list[float]] = defaultdict(list)
    for result, value in values:
        by_seed[result.seed].append(value)
    return {seed: fmean(repeated) for seed, repeated in by_seed.items()}


def _latency(group: Sequence[RunResult]) -> tuple[LatencySummary, ...]:
    by_batch: dict[int, list[Timing]] = defaultdict(list)
    for result in group:
        for timing in result.latency:
            by_batch[timing.network.batch].append(timing)
    return tuple(_timed(batch, timings) for batch, timings in sorted(by_batch.items()))


def _timed(batch: int, timings: Sequence[Timing]) -> LatencySummary:
    ratios = [timing.network.median / timing.dense.median for timing in timings if timing.dense]
    latencies = [latency for timing in timings for latency in (timing.network, timing.dense) if latency]
    return LatencySummary(
        batch=batch,
        seconds=fmean(timing.network.median for timing in timings),
        ratio=fmean(ratios) if ratios else None,
        noisy=any(latency.iqr > NOISY * latency.median for latency in latencies),
    )


def _top1(result: RunResult) -> float:
    if result.final.test is None:
        raise ValueError(f"run {result.name!r} has no test accuracy, collect keeps it out")
    return result.final.test.top1


def _macs(result: RunResult) -> int:
    return result.final.complexity.macs


def _params(result: RunResult) -> int:
    return result.final.complexity.params
