"""Shares that are given by name, against the layers of a network that are known by hand."""

import pytest
import torch

from namprune.errors import PruneError
from namprune.measure import complexity
from namprune.pruning import ChannelGraph, Goal, compose, make_plan, prune_model
from namprune.pruning.pins import pinned

INPUT = (3, 8, 8)


@pytest.fixture(scope="module")
def widths():
    """Widths before and after, and notes, of the groups of a plan, by root."""

    def of(plan):
        return {cut.root: (cut.before, len(cut.kept), cut.note) for cut in plan.groups}

    return of


def test_a_pattern_means_what_a_layer_gives_not_what_it_reads(make_network) -> None:
    graph = ChannelGraph(make_network("resnet20", "channel"), INPUT)
    stage = pinned(graph, ratios={"stages.1.*": 0.7}, keep=())
    roots = {group.root for group in graph.groups if "stages.1." in " ".join(m.name for m in group.makers)}
    assert set(stage) == roots
    assert {group.size for group in graph.groups if group.root in stage} == {32}  # not the 16 wide stream it reads
    (conv,) = pinned(graph, ratios={}, keep=["stages.0.1.conv1"]).items()
    assert (conv[0], conv[1].share, conv[1].why) == ("stages.0.1.conv1", 0.0, "prune.keep: stages.0.1.conv1")
    by_norm = pinned(graph, ratios={"stages.0.1.bn1": 0.5}, keep=())
    assert set(by_norm) == {"stages.0.1.conv1"}


def test_the_first_pattern_holds_and_keep_comes_before(make_network) -> None:
    graph = ChannelGraph(make_network("resnet20"), INPUT)
    pins = pinned(graph, ratios={"*conv1": 0.3, "stages.*": 0.6}, keep=["stages.0.0.*"])
    assert pins["stages.0.0.conv1"].share == 0.0
    assert pins["stages.1.0.conv1"].why == "prune.ratios: *conv1 0.3"
    assert {pin.share for root, pin in pins.items() if not root.endswith("conv1")} == {0.0, 0.6}


@pytest.mark.parametrize("how", [{"ratios": {"stages.1.0.convl": 0.5}, "keep": ()}, {"ratios": {}, "keep": ["layer3"]}])
def test_a_pattern_without_channels_is_refused_with_near_names(make_network, how) -> None:
    graph = ChannelGraph(make_network("resnet20"), INPUT)
    name = "stages.1.0.convl" if how["ratios"] else "layer3"
    with pytest.raises(PruneError, match=f"no channels belong to '{name}'") as caught:
        pinned(graph, **how)
    assert any(layer in (caught.value.hint or "") for layer in ("stages.1.0.conv1", "there are stem.0"))


def test_what_is_left_alone_anyway_may_be_named(make_network) -> None:
    graph = ChannelGraph(make_network("resnet20"), INPUT)
    assert pinned(graph, ratios={}, keep=["classifier"]) == {}
    assert len(pinned(graph, ratios={"*": 0.5}, keep=[])) == len(graph.groups)  # among others


def test_a_share_of_what_is_left_alone_is_refused_with_the_reason(make_network) -> None:
    graph = ChannelGraph(make_network("resnet20"), INPUT)
    with pytest.raises(
        PruneError, match=r"prune\.ratios: 'class\*' .*: classifier: its channels are the network's output"
    ):
        pinned(graph, ratios={"class*": 0.5}, keep=())


def test_kept_stays_pinned_loses_its_share_and_the_others_share_the_ratio(make_network, widths) -> None:
    pruned = prune_model(
        make_network("resnet20"), torch.randn(2, *INPUT), ratio=0.3, ratios={"stages.2.*": 0.75}, keep=["stem*"]
    )
    found = widths(pruned.plan)
    assert found["stem.0"] == (16, 16, "prune.keep: stem*")
    third = {root: one for root, one in found.items() if one[0] == 64}
    assert len(third) == 4
    assert set(third.values()) == {(64, 16, "prune.ratios: stages.2.* 0.75")}
    others = [one for root, one in found.items() if root not in {"stem.0", *third}]
    before, after = (sum(one[at] for one in others) for at in (0, 1))
    assert before - after == int(0.3 * before + 0.5)


def test_a_target_is_met_over_the_others(make_network, widths) -> None:
    network = make_network("resnet20")
    pruned = prune_model(
        network, torch.randn(2, *INPUT), target_macs=0.4, ratios={"stages.0.*conv1": 0.5}, keep=["stem*"]
    )
    share = complexity(pruned.model, INPUT).macs / complexity(network, INPUT).macs
    assert share == pytest.approx(0.4, rel=0.02)
    found = widths(pruned.plan)
    assert found["stem.0"][1] == 16
    assert [found[f"stages.0.{block}.conv1"][1] for block in range(3)] == [8, 8, 8]


def test_a_target_may_be_met_by_the_shares_alone(make_network) -> None:
    graph = ChannelGraph(make_network("resnet20"), INPUT)
    local = make_plan(graph, INPUT, ratio=0.5, scope="local")
    alone = make_plan(graph, INPUT, target_macs=local.macs_after / local.macs_before, ratios={"*": 0.5})
    assert [cut.kept for cut in alone.groups] == [cut.kept for cut in local.groups]


@pytest.mark.parametrize("pins", [{"keep": ["*"]}, {"ratios": {"*": 0.5}}, {"keep": ["stem*"], "ratios": {"*": 0.5}}])
def test_a_ratio_of_no_layer_is_refused(make_network, pins) -> None:
    graph = ChannelGraph(make_network("resnet20"), INPUT)
    with pytest.raises(
        PruneError, match=r"prune\.ratio: 0\.3 is of the layers that prune\.keep and prune\.ratios do not"
    ):
        make_plan(graph, INPUT, ratio=0.3, **pins)


def _drop(points: float) -> Goal:
    """At most one point, and any cut costs so many."""
    return Goal(key="max_drop", asked=1.0, unit=" points", measure=lambda *_: points, tolerance=None, resolution=0.01)


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        (
            {"target_macs": 0.5, "ratios": {"*": 0.9}},
            r"target_macs: 0\.5x MACs was asked, prune\.ratios alone come to 0\.0\d+x MACs",
        ),
        (
            {"target": _drop(5), "ratios": {"*": 0.9}},
            r"max_drop: 1 points was asked, prune\.ratios alone come to 5 points",
        ),
        (
            {"target": _drop(0), "keep": ["*"]},
            r"max_drop: floor 0\.1 and .* prune\.keep .* leave no channel that may go",
        ),
    ],
)
def test_shares_that_rule_a_target_out_are_named(make_network, how, fault) -> None:
    graph = ChannelGraph(make_network("resnet20"), INPUT)
    with pytest.raises(PruneError, match=fault):
        make_plan(graph, INPUT, **how)


def test_floor_and_divisor_hold_for_a_share_and_are_said(make_network, widths) -> None:
    graph = ChannelGraph(make_network("resnet20"), INPUT)
    plan = make_plan(
        graph, INPUT, ratio=0.3, ratios={"stages.2.*conv1": 0.9, "stages.1.*conv1": 0.6}, floor=0.25, round_to=8
    )
    found = widths(plan)
    assert found["stages.2.0.conv1"] == (64, 16, "prune.ratios: stages.2.*conv1 0.9; at the floor")
    assert found["stages.1.0.conv1"][1] == 16  # 12.8 stay, rounded up


@pytest.mark.parametrize("criterion", ["l2", "random"])
@pytest.mark.parametrize("cuts", [2, 3])
def test_several_cuts_end_where_one_would(make_network, widths, criterion, cuts) -> None:
    how = {"criterion": criterion, "ratios": {"stages.2.*": 0.8}, "keep": ["stem*"], "floor": 0.2}
    network = make_network("resnet20")
    total = None
    for left in range(cuts, 0, -1):
        graph = ChannelGraph(network, INPUT)
        plan = make_plan(graph, INPUT, ratio=0.6, after=total, cuts=left, **how)
        plan.apply(network, graph=graph)
        total = plan if total is None else compose(total, plan)
    once = make_plan(ChannelGraph(make_network("resnet20"), INPUT), INPUT, ratio=0.6, **how)
    assert (total.channels_before, total.channels_after) == (once.channels_before, once.channels_after)
    pinned_in_both = [{r: w for r, w in widths(p).items() if "prune." in w[2]} for p in (total, once)]
    assert pinned_in_both[0] == pinned_in_both[1]
    assert all(len(cut.kept) >= 0.2 * cut.before for cut in total.groups)


def test_each_of_several_cuts_leaves_the_same_share(make_network) -> None:
    network, total, shares = make_network("resnet20"), None, []
    for left in (3, 2, 1):
        graph = ChannelGraph(network, INPUT)
        plan = make_plan(graph, INPUT, target_macs=0.3, after=total, cuts=left)
        plan.apply(network, graph=graph)
        total = plan if total is None else compose(total, plan)
        shares.append(total.macs_after / total.macs_before)
    assert shares == pytest.approx([0.3 ** (1 / 3), 0.3 ** (2 / 3), 0.3], rel=0.02)
