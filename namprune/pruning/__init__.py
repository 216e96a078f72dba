"""Ranking, planning, removal and repair."""

from namprune.pruning.apply import apply_plan, prune_model
from namprune.pruning.bottleneck import BottleneckCut
from namprune.pruning.compensate import compensate
from namprune.pruning.graph import ChannelGraph, ChannelGroup
from namprune.pruning.importance import IMPORTANCES, Criterion, needs_batches
from namprune.pruning.measured import accuracy_drop, latency_target
from namprune.pruning.plan import GroupCut, PruningPlan, compose, make_plan
from namprune.pruning.ranking import Ranking
from namprune.pruning.repair import recalibrate
from namprune.pruning.target import Goal, file_size, params_share

__all__ = [
    "IMPORTANCES",
    "BottleneckCut",
    "ChannelGraph",
    "ChannelGroup",
    "Criterion",
    "Goal",
    "GroupCut",
    "PruningPlan",
    "Ranking",
    "accuracy_drop",
    "apply_plan",
    "compensate",
    "compose",
    "file_size",
    "latency_target",
    "make_plan",
    "needs_batches",
    "params_share",
    "prune_model",
    "recalibrate",
]
