"""Ranking, planning, removal and repair."""

from namprune.pruning.apply import apply_plan, prune_model
from namprune.pruning.bottleneck import BottleneckCut
from namprune.pruning.graph import ChannelGraph, ChannelGroup
from namprune.pruning.importance import IMPORTANCES
from namprune.pruning.plan import GroupCut, PruningPlan, compose, make_plan
from namprune.pruning.ranking import Ranking
from namprune.pruning.repair import recalibrate

__all__ = [
    "IMPORTANCES",
    "BottleneckCut",
    "ChannelGraph",
    "ChannelGroup",
    "GroupCut",
    "PruningPlan",
    "Ranking",
    "apply_plan",
    "compose",
    "make_plan",
    "prune_model",
    "recalibrate",
]
