"""The channels of a network, scored once by one criterion; how many go is then a matter of counting."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from torch import Tensor

from namprune.choices import BottleneckRule, CriterionName, Scope
from namprune.errors import PruneError
from namprune.pruning.allocate import allocate
from namprune.pruning.bottleneck import BottleneckCut, shrinks, shrunk
from namprune.pruning.cost import Cost
from namprune.pruning.graph import ChannelGraph, ChannelGroup
from namprune.pruning.importance import build_importance

Shape: TypeAlias = tuple[int, int, int]
"""Channels, height, width."""

TARGET_TOLERANCE = 0.02
"""How far from the MACs asked for a cut may end, as a share of them."""


@dataclass(frozen=True)
class Ranking:
    """The groups of a network with the (size,) scores of their channels, and what its layers cost."""

    scored: tuple[tuple[ChannelGroup, Tensor], ...]
    unscored: tuple[ChannelGroup, ...]
    """Groups that the criterion has nothing to judge by: they stay whole."""
    cost: Cost

    @classmethod
    def of(
        cls,
        graph: ChannelGraph,
        input_shape: Shape,
        *,
        criterion: CriterionName = "nam",
        bottlenecks: BottleneckRule = "auto",
        seed: int = 0,
    ) -> "Ranking":
        """Score every group; the network is not touched."""
        importance = build_importance(criterion, seed=seed)
        pairs = [(group, importance(group)) for group in graph.groups]
        return cls(
            scored=tuple((group, score) for group, score in pairs if score is not None),
            unscored=tuple(group for group, score in pairs if score is None),
            cost=Cost.of(graph.model, input_shape, shrinks=shrinks(graph.model, bottlenecks)),
        )

    def kept(self, ratio: float, *, scope: Scope, floor: float, round_to: int) -> list[Tensor]:
        """Indices that stay of each scored group, ascending."""
        scores = [score for _, score in self.scored]
        return allocate(scores, ratio=ratio, scope=scope, floor=floor, round_to=round_to)

    def macs_after(self, kept: Sequence[Tensor]) -> int:
        """Multiply-accumulates of one picture with only these channels."""
        return self.cost.after(self._cuts(kept))

    def shrunk(self, kept: Sequence[Tensor]) -> tuple[BottleneckCut, ...]:
        """The bottlenecks that get narrower with only these channels."""
        return shrunk(self._cuts(kept)) if self.cost.shrinks else ()

    def ratio_for_macs(self, share: float, *, scope: Scope, floor: float, round_to: int) -> float:
        """The share of the channels to remove so that about `share` of the MACs stay, by bisection.

        Raises:
            PruneError: no cut comes within 2 % of that; says how far one can go, or what is nearest.
        """
        macs = partial(self._macs_share, scope=scope, floor=floor, round_to=round_to)
        most, least = (0.0, 1.0), (1.0, macs(1.0))  # (ratio, share of the MACs that stays)
        resolution = 0.5 / sum(group.size for group, _ in self.scored)
        while least[0] - most[0] > resolution:
            middle = (most[0] + least[0]) / 2
            if (now := macs(middle)) > share:
                most = (middle, now)
            else:
                least = (middle, now)
        nearest = min(most, least, key=lambda end: abs(end[1] - share))
        if abs(nearest[1] - share) <= TARGET_TOLERANCE * share:
            return nearest[0]
        limits = f"floor {floor:g} and round_to {round_to}"
        if least[1] > share:
            raise PruneError(
                f"prune.target_macs: {share:g} of the MACs cannot be reached, {limits} leave {least[1]:.3g} of them",
                hint="lower prune.floor or prune.round_to, or raise the target",
            )
        raise PruneError(
            f"prune.target_macs: {limits} admit no cut near {share:g} of the MACs, but {most[1]:.3g} and "
            f"{least[1]:.3g}",
            hint="lower prune.round_to, or take one of these",
        )

    def _cuts(self, kept: Sequence[Tensor]) -> list[tuple[ChannelGroup, Tensor]]:
        return [(group, keep) for (group, _), keep in zip(self.scored, kept, strict=True)]

    def _macs_share(self, ratio: float, *, scope: Scope, floor: float, round_to: int) -> float:
        kept = self.kept(ratio, scope=scope, floor=floor, round_to=round_to)
        return self.macs_after(kept) / self.cost.total
