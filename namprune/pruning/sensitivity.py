"""What a group of channels costs in accuracy when it alone is cut: curves, and the scores of channels by them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from namprune.pruning.group import ChannelGroup
from namprune.result import record_from_json, to_json
from namprune.table import Table, percent

RATIOS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Shares of a group's channels that are tried by default."""

_TIE = 1e-6
"""Points that the largest score of the criterion is worth: where curves are level, it decides."""

Scored = Sequence[tuple[ChannelGroup, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Of one group of channels, with a value for each ratio that was tried."""

    root: str
    """The layer that names the group."""
    channels: int
    removed: tuple[int, ...]
    """Channels that go, the lowest ranked."""
    saved: tuple[float, ...]
    """Share of the network's multiply-accumulates that goes with them."""
    lost: tuple[float, ...]
    """Points of top-1 that this costs; below zero where it gains."""


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """The curves of all groups of a network, measured on validation pictures without any fine-tuning."""

    criterion: str
    """What ranked the channels."""
    recalibrated: int
    """Batches that re-estimated the BN statistics of each cut network; 0 = none."""
    top1: float
    """Of the whole network, recalibrated as the cut ones are: what that does is no loss by the cut."""
    images: int
    ratios: tuple[float, ...]
    """Ascending."""
    curves: tuple[Curve, ...]
    """In the order of the network."""

    def drops(self, group: ChannelGroup, score: Tensor) -> Tensor:
        """The points that the network would lose if a channel and all that rank below it went: float64 (size,).

        Linear between the ratios that were tried, never falling, and at all channels the whole of the accuracy.

        Raises:
            ValueError: there is no curve of a group with that root and size.
        """
        curve = next((one for one in self.curves if one.root == group.root), None)
        if curve is None or curve.channels != group.size:
            raise ValueError(f"no sensitivity of {group.root} with {group.size} channels: it is of another network")
        known = {0: 0.0, **dict(zip(curve.removed, curve.lost, strict=True)), group.size: 100 * self.top1}
        gone = np.arange(1, group.size + 1)
        by_rank = np.interp(gone, list(known), np.maximum.accumulate(list(known.values())))  # (size,)
        drops = torch.empty(group.size, dtype=torch.float64)
        drops[score.argsort(stable=True)] = torch.from_numpy(by_rank)
        return drops

    def to_json(self) -> str:
        """Indented JSON."""
        return to_json(self)

    @classmethod
    def from_json(cls, text: str, *, source: str) -> "Sensitivity":
        """Read what `to_json` wrote; RunError for anything else."""
        return record_from_json(cls, text, source=source)

    def to_table(self, *, title: str) -> Table:
        """One row per group, for people."""
        rows = (
            (one.root, str(one.channels), f"{100 * one.saved[-1]:.1f}", *(f"{points:z.1f}" for points in one.lost))
            for one in self.curves
        )
        batches = f"recalibrated on {self.recalibrated} batches" if self.recalibrated else "not recalibrated"
        return Table(
            title,
            columns=("Group", "Channels", f"% of MACs at {self.ratios[-1]:g}", *(f"{one:g}" for one in self.ratios)),
            rows=tuple(rows),
            notes=(
                "points of validation top-1 lost when this share of one group's channels goes, the lowest ranked by "
                f"{self.criterion}; {batches}, not fine-tuned",
                f"{percent(self.top1)} % of {self.images:,} pictures before; one picture is "
                f"{100 / self.images:.2f} points",
            ),
        )


def rescored(scored: Scored, sensitivity: Sensitivity) -> tuple[tuple[ChannelGroup, Tensor], ...]:
    """Groups with the predicted loss in the place of their scores, so that ranked together each group gives what
    costs the network the same; what costs nothing that was seen goes in the order of the scores of all groups.

    Raises:
        ValueError: a group has no curve.
    """
    largest = max((float(score.abs().max()) for _, score in scored), default=0.0) or 1.0
    return tuple((group, sensitivity.drops(group, score) + _TIE * score / largest) for group, score in scored)
