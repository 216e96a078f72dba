"""The ratio that leaves a share of the MACs, against the MACs of the network that was really cut."""

import pytest
import torch

from namprune.errors import PruneError
from namprune.measure import complexity
from namprune.pruning import ChannelGraph, make_plan, prune_model

INPUT = (3, 8, 8)


@pytest.mark.parametrize("scope", ["global", "local"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
@pytest.mark.parametrize(("name", "attention"), [("resnet20", "channel"), ("mobilenetv2", "none"), ("resnet20", "se")])
def test_the_network_ends_within_two_percent_of_the_target(make_network, name, attention, share, scope) -> None:
    network = make_network(name, attention, width=None if name == "resnet20" else 0.5)
    before = complexity(network, INPUT).macs
    pruned = prune_model(network, torch.randn(2, *INPUT), target_macs=share, criterion="bn", scope=scope)
    plan, after = pruned.plan, complexity(pruned.model, INPUT).macs
    assert after == plan.macs_after
    assert abs(after / before - share) <= 0.02 * share
    assert (plan.target_macs, plan.ratio) == (
        share,
        pytest.approx(1 - plan.channels_after / plan.channels_before, abs=0.02),
    )


@pytest.mark.parametrize(
    ("share", "how"),
    [
        (0.25, {"criterion": "random"}),
        (0.1, {"criterion": "random", "seed": 2}),
        (0.17, {"scope": "local"}),
        (0.52, {"scope": "local"}),
        (0.94, {"scope": "local"}),
        (0.995, {"criterion": "l1"}),
    ],
)
def test_where_one_channel_of_the_stream_is_too_much_cheaper_ones_go(make_network, share, how) -> None:
    network = make_network("resnet20", "channel")
    before = complexity(network, (3, 32, 32)).macs
    pruned = prune_model(network, torch.randn(2, 3, 32, 32), target_macs=share, **how)
    after = complexity(pruned.model, (3, 32, 32)).macs
    assert pruned.plan.macs_after == after < before
    assert abs(after / before - share) <= 0.02 * share
    assert pruned.proof < 1e-9


def test_the_found_ratio_gives_the_same_cut(make_network) -> None:
    graph = ChannelGraph(make_network("resnet20"), INPUT)
    found = make_plan(graph, INPUT, target_macs=0.5)
    asked = make_plan(graph, INPUT, ratio=found.ratio)
    assert asked.groups == found.groups


def test_out_of_reach_says_how_far_one_can_go(make_network) -> None:
    graph = ChannelGraph(make_network("resnet20"), INPUT)
    least = make_plan(graph, INPUT, ratio=0.999, floor=0.5)
    reach = least.macs_after / least.macs_before
    with pytest.raises(PruneError, match=rf"0\.1x MACs cannot be reached, floor 0\.5 .* {reach:.3g}x MACs"):
        make_plan(graph, INPUT, target_macs=0.1, floor=0.5)


def test_widths_too_coarse_for_the_target_name_what_is_nearest(make_network) -> None:
    graph = ChannelGraph(make_network("resnet20"), INPUT)
    with pytest.raises(PruneError, match=r"no cut near 0\.97x MACs, but 1x MACs and 0\."):
        make_plan(graph, INPUT, target_macs=0.97, round_to=32, scope="local")


@pytest.mark.parametrize("aim", [{}, {"ratio": 0.5, "target_macs": 0.5}])
def test_how_much_goes_is_said_once(make_network, aim) -> None:
    with pytest.raises(ValueError, match="one of ratio, target_macs and target"):
        make_plan(ChannelGraph(make_network("resnet20"), INPUT), INPUT, **aim)
