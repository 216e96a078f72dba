"""The ratio that leaves a share of the MACs, against the MACs of the network that was really cut."""

import pytest

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
    plan, _ = prune_model(network, INPUT, target_macs=share, criterion="bn", scope=scope)
    after = complexity(network, INPUT).macs
    assert after == plan.macs_after
    assert abs(after / before - share) <= 0.02 * share
    assert (plan.target_macs, plan.ratio) == (
        share,
        pytest.approx(1 - plan.channels_after / plan.channels_before, abs=0.02),
    )


def test_the_found_ratio_gives_the_same_cut(make_network) -> None:
    graph = ChannelGraph(make_network("resnet20"), INPUT)
    found = make_plan(graph, INPUT, target_macs=0.5)
    asked = make_plan(graph, INPUT, ratio=found.ratio)
    assert asked.groups == found.groups


def test_out_of_reach_says_how_far_one_can_go(make_network) -> None:
    graph = ChannelGraph(make_network("resnet20"), INPUT)
    least = make_plan(graph, INPUT, ratio=0.999, floor=0.5)
    reach = least.macs_after / least.macs_before
    with pytest.raises(PruneError, match=rf"0\.1 of the MACs cannot be reached, floor 0\.5 .* {reach:.3g} of them"):
        make_plan(graph, INPUT, target_macs=0.1, floor=0.5)


def test_widths_too_coarse_for_the_target_name_what_is_nearest(make_network) -> None:
    graph = ChannelGraph(make_network("resnet20"), INPUT)
    with pytest.raises(PruneError, match=r"no cut near 0\.9 of the MACs, but 1 and 0"):
        make_plan(graph, INPUT, target_macs=0.9, round_to=16, scope="local")


@pytest.mark.parametrize("aim", [{}, {"ratio": 0.5, "target_macs": 0.5}])
def test_how_much_goes_is_said_once(make_network, aim) -> None:
    with pytest.raises(ValueError, match="one of ratio and target_macs"):
        make_plan(ChannelGraph(make_network("resnet20"), INPUT), INPUT, **aim)
