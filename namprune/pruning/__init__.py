"""Ranking, planning, removal and repair."""

from namprune.pruning.bottleneck import BottleneckCut
from namprune.pruning.compensate import compensate
from namprune.pruning.curves import measure_sensitivity
from namprune.pruning.cut import GroupCut
from namprune.pruning.dead import dead_plan
from namprune.pruning.graph import ChannelGraph
from namprune.pruning.group import ChannelGroup
from namprune.pruning.importance import IMPORTANCES, Criterion, needs_batches
from namprune.pruning.measured import accuracy_drop, cut_accuracy, latency_target
from namprune.pruning.plan import PruningPlan, compose
from namprune.pruning.planning import make_plan
from namprune.pruning.pruned import PrunedModel, prune_model
from namprune.pruning.ranking import Ranking
from namprune.pruning.repair import recalibrate
from namprune.pruning.sensitivity import Sensitivity
from namprune.pruning.target import Goal, file_size, params_share

__all__ = [
    "IMPORTANCES",
    "BottleneckCut",
    "ChannelGraph",
    "ChannelGroup",
    "Criterion",
    "Goal",
    "GroupCut",
    "PrunedModel",
    "PruningPlan",
    "Ranking",
    "Sensitivity",
    "accuracy_drop",
    "compensate",
    "compose",
    "cut_accuracy",
    "dead_plan",
    "file_size",
    "latency_target",
    "make_plan",
    "measure_sensitivity",
    "needs_batches",
    "params_share",
    "prune_model",
    "recalibrate",
]
