"""Time to plan and cut a network, ours beside torch-pruning's, in turns.

python scripts/bench_overhead.py [ROUNDS]

`knife` is torch-pruning's graph and the removal of the very channels that we remove, without any ranking; `pruner` its
own BasePruner by BatchNorm scale, which ranks, too. The proof, which it has not, is timed by itself.
"""

import copy
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
import torch_pruning as tp
from torch import nn

from namprune.models import MODELS, AttentionPlan
from namprune.pruning import ChannelGraph, PruningPlan, make_plan
from namprune.pruning.knife import remove

SHAPE, RATIO = (3, 32, 32), 0.5
NETWORKS = ("resnet20", "resnet56", "resnet18", "resnet50", "mobilenetv2")


def ours(model: nn.Module) -> None:
    """Graph, ranking, plan and removal."""
    graph = ChannelGraph(model, SHAPE)
    groups = {group.root: group for group in graph.groups}
    plan = make_plan(graph, SHAPE, ratio=RATIO)
    remove(model, [(groups[cut.root], torch.tensor(cut.kept)) for cut in plan.groups])


def knife(model: nn.Module, plan: PruningPlan) -> None:
    """Graph and removal of what our plan removes."""
    graph = tp.DependencyGraph().build_dependency(model, example_inputs=torch.zeros(1, *SHAPE))
    for cut in plan.groups:
        if cut.removed:
            layer = model.get_submodule(cut.root)
            graph.get_pruning_group(layer, tp.prune_conv_out_channels, list(cut.removed)).prune()


def pruner(model: nn.Module) -> None:
    """Graph, ranking and removal of as large a share of the channels."""
    tp.pruner.BasePruner(
        model,
        torch.zeros(1, *SHAPE),
        importance=tp.importance.BNScaleImportance(),
        global_pruning=True,
        pruning_ratio=RATIO,
        ignored_layers=[model.classifier],
    ).step()


def seconds(run: Callable[[nn.Module], object], model: nn.Module) -> float:
    """Of one cut of a copy."""
    model = copy.deepcopy(model)
    started = time.perf_counter()
    run(model)
    return time.perf_counter() - started


def main(rounds: int) -> None:
    torch.manual_seed(0)
    ways = ("ours", "knife", "pruner", "proof")
    print(f"{'network':12} {' '.join(f'{way:>8}' for way in ways)}   ours/knife ours/pruner   median of {rounds}, in s")
    for name in NETWORKS:
        dense = MODELS[name](input_shape=SHAPE, classes=10, attention=AttentionPlan(), width=1.0)
        for module in dense.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight)
        plan = make_plan(ChannelGraph(dense, SHAPE), SHAPE, ratio=RATIO)
        runs = {"ours": ours, "knife": partial(knife, plan=plan), "pruner": pruner, "proof": plan.apply}
        taken = {way: [0.0] * rounds for way in ways}
        for turn in range(rounds):
            for way, run in runs.items():
                taken[way][turn] = seconds(run, dense)
        medians = " ".join(f"{statistics.median(taken[way]):8.3f}" for way in ways)
        ratios = [
            statistics.median(a / b for a, b in zip(taken["ours"], taken[way], strict=True))
            for way in ("knife", "pruner")
        ]
        print(f"{name:12} {medians}   {ratios[0]:10.2f} {ratios[1]:11.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
