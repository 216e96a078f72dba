import pytest
import torch
from torch import Tensor, nn

from namprune.attention import NAM
from namprune.errors import PruneError
from namprune.pruning import IMPORTANCES, ChannelGraph, ChannelGroup, PruningPlan, make_plan, needs_batches
from namprune.pruning.allocate import allocate
from namprune.pruning.importance import build_importance

INPUT = (3, 8, 8)


def _batches(count: int = 2) -> list[tuple[Tensor, Tensor]]:
    return [(torch.randn(8, *INPUT), torch.randint(10, (8,))) for _ in range(count)]


def test_random_depends_on_seed_and_group_alone(make_group) -> None:
    group, other = (make_group(nn.Conv2d(1, 32, 1), size=32, root=root) for root in ("a", "b"))
    first = build_importance("random", seed=1)(group)
    assert first is not None
    torch.manual_seed(99)
    assert torch.equal(first, build_importance("random", seed=1)(group))
    assert not torch.equal(first, build_importance("random", seed=2)(group))
    assert not torch.equal(first, build_importance("random", seed=1)(other))


@pytest.mark.parametrize("name", ["nam", "bn", "l1", "l2", "fpgm"])
def test_a_global_ranking_does_not_see_the_width(make_group, name: str) -> None:
    torch.manual_seed(0)
    factors, gate, filters = torch.rand(16), torch.rand(16), torch.randn(16, 3, 1, 1)

    def group(repeats: int) -> ChannelGroup:
        conv, nam = nn.Conv2d(3, 16 * repeats, 1), NAM(16 * repeats, (2, 2))
        norm = nn.BatchNorm2d(16 * repeats)
        norm.weight.data = factors.repeat(repeats)
        conv.weight.data = filters.repeat(repeats, 1, 1, 1)
        nam.channel.gamma.data = gate.repeat(repeats)
        return make_group(conv, norm, nam, size=16 * repeats, fed_by="1")

    scores = [IMPORTANCES[name](group(repeats)) for repeats in (1, 4)]
    narrow, wide = (len(keep) for keep in allocate(scores, ratio=0.5))
    assert (narrow, wide) == (8, 32)


@pytest.mark.parametrize("network", ["resnet20", "mobilenetv2"])
@pytest.mark.parametrize("name", IMPORTANCES)
def test_every_criterion_ranks_whole_networks(make_network, name: str, network: str) -> None:
    model = make_network(network, "channel", width=0.25)
    plan = make_plan(ChannelGraph(model, INPUT), INPUT, ratio=0.3, criterion=name, batches=_batches())
    assert plan.criterion == name
    assert all(len(set(cut.scores)) > 1 for cut in plan.groups)
    assert set(plan.skipped) == {"classifier"}


def test_pictures_are_needed_by_those_that_say_so(make_network) -> None:
    graph = ChannelGraph(make_network("resnet20", width=0.25), INPUT)
    assert {name for name in IMPORTANCES if needs_batches(name)} == {"taylor", "obd"}
    for name in ("taylor", "obd"):
        with pytest.raises(ValueError, match=f"criterion {name} needs batches"):
            make_plan(graph, INPUT, ratio=0.3, criterion=name)
        with pytest.raises(ValueError, match="there is no batch"):
            make_plan(graph, INPUT, ratio=0.3, criterion=name, batches=[])


def first_go_first(group: ChannelGroup) -> Tensor | None:
    return None if group.root == "stem.0" else torch.arange(group.size)


def test_a_function_of_the_users_own_ranks(make_network) -> None:
    graph = ChannelGraph(make_network("resnet20", width=0.5), INPUT)
    plan = make_plan(graph, INPUT, ratio=0.25, criterion=first_go_first, scope="local")
    assert plan.criterion == "first_go_first"
    assert plan.skipped["stem.0"] == "first_go_first has nothing to judge it by"
    for cut in plan.groups:
        assert cut.kept == tuple(range(cut.before // 4, cut.before))
    assert PruningPlan.from_json(plan.to_json(), source="plan.json") == plan


@pytest.mark.parametrize(
    ("score", "error", "match"),
    [
        (lambda group: torch.zeros(group.size + 1), ValueError, r"gives scores of shape \(\d+,\) for \d+ channels"),
        (lambda group: torch.full((group.size,), torch.nan), PruneError, "are not numbers"),
    ],
)
def test_what_is_no_score_per_channel_is_refused(make_network, score, error, match) -> None:
    with pytest.raises(error, match=match):
        make_plan(ChannelGraph(make_network("resnet20", width=0.25), INPUT), INPUT, ratio=0.3, criterion=score)


@pytest.mark.parametrize("name", ["nam", "bn"])
def test_a_criterion_of_norms_says_that_there_are_none(name) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1))
    with pytest.raises(PruneError, match=f"{name} has nothing to judge by: .* have BatchNorms") as caught:
        make_plan(ChannelGraph(model, (3, 4, 4)), (3, 4, 4), ratio=0.5, criterion=name)
    assert "--criterion l1" in str(caught.value.hint)
