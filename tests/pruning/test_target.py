"""What a cut is to reach, against the network that was really cut."""

from functools import partial

import pytest
import torch
from torch import nn

from namprune.attention.sa import SA
from namprune.attention.ulsam import ULSAM
from namprune.checkpoint import to_bytes
from namprune.errors import PruneError
from namprune.models import AttentionPlan
from namprune.pruning import ChannelGraph, Goal, PruningPlan, Ranking, file_size, make_plan, params_share, prune_model
from namprune.pruning.measured import accuracy_drop, candidate, latency_target
from namprune.pruning.size import file_bytes, parameters

PICTURES = torch.zeros(1, 3, 8, 8)
INPUT = (3, 8, 8)
OTHER_PLANS = {
    "sa": AttentionPlan(partial(SA, groups=4), "block"),
    "ulsam": AttentionPlan(partial(ULSAM, groups=4), "replace"),
}


def _count(model) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("attention", ["none", "both", "se", "cbam", "bam", "sa", "ulsam"])
@pytest.mark.parametrize("name", ["resnet20", "mobilenetv2"])
def test_parameters_and_file_are_foretold_exactly(make_network, name, attention) -> None:
    network = make_network(name, OTHER_PLANS.get(attention, attention), width=None if name == "resnet20" else 0.5)
    graph = ChannelGraph(network, INPUT)
    ranking = Ranking.of(graph, INPUT, criterion="l2", bottlenecks="shrink")
    kept = ranking.kept(0.4, scope="global", floor=0.1, round_to=1)
    cuts = [(group, keep) for (group, _), keep in zip(ranking.scored, kept, strict=True)]
    before, after = ranking.cost.tensors, ranking.cost.tensors_after(cuts)
    cut = candidate(network, cuts, shrinks=True)
    assert (parameters(before), parameters(after)) == (_count(network), _count(cut))
    assert _count(cut) < 0.9 * _count(network)
    assert {name: list(tensor.shape) for name, tensor in after.items()} == {
        name: list(tensor.shape) for name, tensor in cut.state_dict().items()
    }
    assert file_bytes(before) == pytest.approx(len(to_bytes(network)), rel=1e-3)
    assert file_bytes(after) == pytest.approx(len(to_bytes(cut)), rel=1e-3)


@pytest.mark.parametrize("scope", ["global", "local"])
def test_a_share_of_the_parameters_is_kept(make_network, scope) -> None:
    network = make_network("resnet20", "channel")
    before = _count(network)
    pruned = prune_model(network, PICTURES, target=params_share(0.4), criterion="bn", scope=scope)
    plan = pruned.plan
    assert plan.target is not None
    assert _count(pruned.model) / before == plan.target.reached == pytest.approx(0.4, rel=0.02)
    assert (plan.target.words, plan.target_macs) == ("0.4x parameters", None)
    assert PruningPlan.from_json(plan.to_json(), source="plan.json") == plan


def test_the_file_gets_as_small_as_asked(make_network) -> None:
    network = make_network("resnet20", "se")
    pruned = prune_model(network, PICTURES, target=file_size(400_000), criterion="bn")
    assert len(to_bytes(pruned.model)) == pytest.approx(400_000, rel=0.02)
    assert pruned.plan.target is not None
    assert pruned.plan.target.words == "400 kB"


@pytest.mark.parametrize(
    ("goal", "fault"),
    [
        (
            params_share(0.1),
            r"target_params: 0\.1x parameters cannot be reached, floor 0\.5 .* leave 0\.\d+x parameters",
        ),
        (file_size(10_000), r"target_size: 10\.0 kB cannot be reached, floor 0\.5 .* leave \d+ kB"),
        (file_size(5_000_000), r"target_size: 5\.00 MB is more than the network has, 1\.\d\d MB"),
    ],
)
def test_out_of_reach_says_how_far_one_can_go(make_network, goal, fault) -> None:
    with pytest.raises(PruneError, match=fault):
        make_plan(ChannelGraph(make_network("resnet20"), INPUT), INPUT, target=goal, floor=0.5)


def _channels(asked: float) -> Goal:
    """A share of the channels of the third stage, whose four groups are all as wide."""

    def left(cost, cuts) -> float:
        return sum(len(keep) / 256 for group, keep in cuts if group.size == 64)

    return Goal(key="target_params", asked=asked, unit="x", measure=left)


@pytest.mark.parametrize(("asked", "left"), [(0.9, 7 / 8), (0.8, 6 / 8), (0.45, 4 / 8), (0.95, None)])
def test_the_nearest_cut_is_taken_where_it_is_asked_for(make_network, asked, left) -> None:
    graph = ChannelGraph(make_network("resnet20"), INPUT)
    with pytest.raises(PruneError, match=r"admit no cut near|cannot be reached"):
        make_plan(graph, INPUT, target=_channels(asked), round_to=32)
    if left is None:  # what is there is nearer than any cut
        with pytest.raises(PruneError, match="admit no cut near"):
            make_plan(graph, INPUT, target=_channels(asked), round_to=32, nearest=True)
        return
    plan = make_plan(graph, INPUT, target=_channels(asked), round_to=32, nearest=True)
    assert plan.target is not None
    assert (plan.target.asked, plan.target.reached) == (asked, left)
    assert sum(len(cut.kept) for cut in plan.groups if cut.before == 64) == 256 * left


@pytest.fixture
def labelled():
    """Pictures whose labels are what a network itself says."""

    def make(network):
        pictures = torch.randn(200, *INPUT, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            return [(pictures, network.eval()(pictures).argmax(1))]

    return make


def test_the_largest_cut_within_the_drop_is_found(make_network, labelled) -> None:
    network = make_network("resnet20")
    with torch.no_grad():
        for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
            norm.weight[::2] = norm.bias[::2] = 0  # half of all channels go for free
    batches = labelled(network)
    goal = accuracy_drop(network, 1.0, validation=lambda: batches, calibration=lambda: batches, limit=0)
    graph = ChannelGraph(network, INPUT)
    plan = make_plan(graph, INPUT, target=goal, criterion="bn")
    assert plan.target is not None
    assert plan.ratio == pytest.approx(0.5, abs=0.02)
    assert plan.target.reached <= 1
    ranking = Ranking.of(graph, INPUT, criterion="bn")
    kept = ranking.kept(plan.ratio + 1 / 128, scope="global", floor=0.1, round_to=1)
    cuts = [(group, keep) for (group, _), keep in zip(ranking.scored, kept, strict=True)]
    assert goal.measure(ranking.cost, cuts) > 1  # the next step of the search does not hold


def test_no_cut_within_the_drop_says_what_the_smallest_costs(make_network, labelled) -> None:
    network = make_network("resnet20")
    batches = labelled(network)
    goal = accuracy_drop(network, 0.1, validation=lambda: batches, calibration=lambda: batches, limit=0)
    with pytest.raises(PruneError, match=r"max_drop: no cut keeps to 0\.1 points, .* 0\.0078 of the channels, comes"):
        make_plan(ChannelGraph(network, INPUT), INPUT, target=goal, criterion="random")


def test_a_latency_is_reached_and_not_measured_twice(make_network, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    network = make_network("resnet20", width=0.5)
    graph = ChannelGraph(network, INPUT)

    def outcome():
        try:
            target = latency_target(network, INPUT, share=0.85, batch=32)
            return make_plan(graph, INPUT, target=target, criterion="l2").target.reached
        except PruneError as fault:  # the machine is too busy to tell
            return str(fault)

    first = outcome()
    (file,) = (tmp_path / "namprune").iterdir()
    written = file.stat().st_mtime_ns
    assert first == pytest.approx(0.85, rel=0.05) if isinstance(first, float) else "target_latency" in first
    assert outcome() == first
    assert file.stat().st_mtime_ns == written
    file.write_text("{")
    outcome()
    assert file.stat().st_mtime_ns > written  # a broken table is made anew


def test_a_latency_is_a_share_of_that_of_another_network(make_network, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    narrow, wide = (make_network("resnet20", width=width) for width in (0.5, 3.0))
    cost = Ranking.of(ChannelGraph(narrow, INPUT), INPUT, criterion="l2").cost
    shares = [latency_target(narrow, INPUT, share=0.5, batch=16, dense=one).measure(cost, ()) for one in (None, wide)]
    assert shares[0] == 1
    assert shares[1] < 0.7  # 36 times fewer MACs


def test_a_latency_is_asked_in_one_way(make_network) -> None:
    with pytest.raises(ValueError, match="one of seconds and share"):
        latency_target(make_network("resnet20"), INPUT, seconds=0.005, share=0.5)
