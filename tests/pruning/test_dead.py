"""Channels that are dead by construction, against the plan that takes them."""

import pytest
import torch
from torch import nn

from namprune.pruning import ChannelGraph, dead_plan

INPUT = (3, 8, 8)
DEAD = {"stages.0.1.bn1": [0, 5, 7], "stages.2.0.bn1": list(range(0, 64, 2)), "stages.1.2.bn1": list(range(32))}


@torch.no_grad()
def _kill(model: nn.Module, dead: dict[str, list[int]]) -> nn.Module:
    for name, channels in dead.items():
        norm = model.get_submodule(name)
        norm.weight[channels] = norm.bias[channels] = 0.0
    return model


def test_exactly_the_dead_go_down_to_the_floor(make_network) -> None:
    model = _kill(make_network("resnet20", "channel"), DEAD).eval()
    pictures = torch.randn(4, *INPUT)
    expected = model(pictures).detach()
    graph = ChannelGraph(model, INPUT)
    plan = dead_plan(graph, INPUT, floor=0.25)
    assert plan is not None
    removed = {cut.root.replace("conv1", "bn1"): list(cut.removed) for cut in plan.groups if cut.removed}
    assert removed == DEAD | {"stages.1.2.bn1": list(range(24))}  # a quarter of 32 stays
    assert (plan.near_zero_removed, plan.criterion) == (1.0, "largest_factor")
    plan.apply(model, graph=graph)
    torch.testing.assert_close(model(pictures), expected, atol=1e-5, rtol=1e-5)  # γ = β = 0 delivered nothing


def test_the_floor_counts_from_the_width_before_the_first_cut(make_network) -> None:
    model = _kill(make_network("resnet20"), {"stages.1.2.bn1": list(range(16))})
    graph = ChannelGraph(model, INPUT)
    first = dead_plan(graph, INPUT, floor=0.25)
    assert first is not None
    first.apply(model, graph=graph)
    _kill(model, {"stages.1.2.bn1": list(range(16))})  # all that is left
    second = dead_plan(ChannelGraph(model, INPUT), INPUT, floor=0.25, after=first)
    assert second is not None
    assert [(len(cut.kept), cut.note) for cut in second.groups if cut.removed] == [(8, "at the floor")]


@pytest.mark.parametrize("dead", [{}, {"stages.1.2.bn1": list(range(32))}])
def test_where_none_is_dead_or_may_go_there_is_no_plan(make_network, dead) -> None:
    model = _kill(make_network("resnet20"), dead)
    assert dead_plan(ChannelGraph(model, INPUT), INPUT, floor=1.0 if dead else 0.1) is None


def test_what_is_to_stay_stays(make_network) -> None:
    model = _kill(make_network("resnet20"), DEAD)
    plan = dead_plan(ChannelGraph(model, INPUT), INPUT, floor=0.25, keep=["stages.1.2.*1", "stages.0.*"])
    assert plan is not None
    assert {cut.root: list(cut.removed) for cut in plan.groups if cut.removed} == {
        "stages.2.0.conv1": DEAD["stages.2.0.bn1"]
    }
    assert dead_plan(ChannelGraph(model, INPUT), INPUT, floor=0.25, keep=["stages.*"]) is None


@pytest.mark.parametrize(("rule", "shrinks"), [("keep", False), ("shrink", True)])
def test_bottlenecks_shrink_by_the_rule(make_network, rule, shrinks) -> None:
    norms = ["stages.2.0.shortcut.1", *(f"stages.2.{block}.bn2" for block in range(3))]
    model = _kill(make_network("resnet20", "se"), {norm: list(range(32)) for norm in norms})
    plan = dead_plan(ChannelGraph(model, INPUT), INPUT, floor=0.1, bottlenecks=rule)
    assert plan is not None
    assert bool(plan.bottlenecks) == shrinks
