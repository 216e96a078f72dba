import copy
import dataclasses
import json
from collections.abc import Callable

import pytest
import torch
from torch import nn

from namprune.errors import PruneError, RunError
from namprune.measure import layer_macs
from namprune.pruning import ChannelGraph, PruningPlan, compose, make_plan

INPUT = (3, 8, 8)
PICTURES = torch.randn(2, *INPUT)
NetworkFactory = Callable[..., nn.Module]


def _plan(model: nn.Module, *, ratio: float = 0.5, **options: object) -> PruningPlan:
    return make_plan(ChannelGraph(model, INPUT), INPUT, ratio=ratio, **options)


def _macs(model: nn.Module) -> int:
    return sum(layer_macs(model, INPUT).values())


def _cut(model: nn.Module, plan: PruningPlan) -> nn.Module:
    """A pruned copy."""
    cut = copy.deepcopy(model)
    plan.apply(cut, pictures=PICTURES)
    return cut


class Concat(nn.Module):
    """A layer that loses inputs with two groups."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 6, 1)
        self.conv, self.out = nn.Conv2d(10, 5, 1), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.conv(torch.cat([self.left(x), self.right(x)], 1)).mean((2, 3)))


@pytest.mark.parametrize(
    ("name", "attention", "ratio", "options"),
    [
        ("resnet20", "none", 0.3, {}),
        ("resnet20", "both", 0.7, {"round_to": 4}),
        ("resnet50", "channel", 0.5, {"scope": "local"}),
        ("mobilenetv2", "both", 0.3, {"round_to": 8, "criterion": "l2"}),
        ("mobilenetv2", "none", 0.9, {"floor": 0.01, "criterion": "random"}),
        ("mobilenetv2", "se", 0.5, {"bottlenecks": "shrink"}),
        ("resnet20", "cbam", 0.7, {"bottlenecks": "shrink"}),
        ("resnet50", "bam", 0.5, {"bottlenecks": "shrink", "scope": "local"}),
        ("resnet20", "bam", 0.5, {"bottlenecks": "keep"}),
    ],
)
def test_predicted_macs_are_those_of_the_pruned_network(
    make_network: NetworkFactory, name: str, attention: str, ratio: float, options: dict[str, object]
) -> None:
    model = make_network(name, attention)
    plan = _plan(model, ratio=ratio, **options)
    assert plan.macs_before == _macs(model)
    assert plan.macs_after == _macs(_cut(model, plan)) < plan.macs_before


def test_predicted_macs_hold_where_two_groups_meet_in_one_layer() -> None:
    model = Concat()
    plan = _plan(model, criterion="l1", scope="local")
    assert plan.macs_after == _macs(_cut(model, plan))


@pytest.mark.parametrize("attention", ["channel", "se"])
def test_macs_saved_is_what_a_group_saves_alone(make_network: NetworkFactory, attention: str) -> None:
    model = make_network("resnet20", attention)
    plan = _plan(model, bottlenecks="shrink")
    for cut in plan.groups[::3]:
        behind = tuple(hidden for hidden in plan.bottlenecks if hidden.layer in cut.layers)
        alone = dataclasses.replace(plan, groups=(cut,), bottlenecks=behind)
        assert plan.macs_before - cut.macs_saved == _macs(_cut(model, alone))


def test_a_plan_says_what_was_asked_and_found(make_network: NetworkFactory) -> None:
    model = make_network("resnet20")
    plan = _plan(model, ratio=0.25, criterion="bn", floor=0.2, round_to=2)
    assert (plan.ratio, plan.criterion, plan.scope, plan.floor, plan.round_to) == (0.25, "bn", "global", 0.2, 2)
    # 3 streams and 9 inner widths of 16, 32 and 64
    assert plan.channels_before == 4 * (16 + 32 + 64)
    assert plan.channels_before - plan.channels_after == 112
    assert plan.skipped == {"classifier": "its channels are the network's output"}
    for cut in plan.groups:
        assert list(cut.kept) == sorted(cut.kept)
        gone = set(range(cut.before)) - set(cut.kept)
        assert max((cut.scores[i] for i in gone), default=0) <= min(cut.scores[i] for i in cut.kept)


def test_the_seed_draws_other_channels(make_network: NetworkFactory) -> None:
    model = make_network("resnet20")
    first, again, other = (_plan(model, criterion="random", seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.groups != other.groups


def test_json_brings_a_plan_back(make_network: NetworkFactory) -> None:
    plan = _plan(make_network("mobilenetv2", "se"))
    assert plan.bottlenecks
    assert PruningPlan.from_json(plan.to_json(), source="plan.json") == plan
    with pytest.raises(RunError, match=r"plan\.json.*groups\[0\]\.before"):
        PruningPlan.from_json(plan.to_json().replace('"before": 1280', '"before": "x"'), source="plan.json")


def test_a_plan_from_before_there_was_such_a_thing_shrinks_no_bottleneck(make_network: NetworkFactory) -> None:
    plan = _plan(make_network("resnet20", "se"), bottlenecks="keep")
    tree = json.loads(plan.to_json())
    assert tree.pop("bottlenecks") == []
    assert PruningPlan.from_json(json.dumps(tree), source="plan.json") == plan


def test_notes_say_why_a_group_gives_less() -> None:
    model = nn.Sequential(*(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 24, 1), nn.Conv2d(24, 32, 1), nn.Conv2d(32, 2, 1)))
    model[1].weight.data[:12] *= 1e-3
    graph = ChannelGraph(model, INPUT)
    plan = make_plan(graph, INPUT, ratio=0.15, criterion="l1", floor=0.3, round_to=8)
    assert {cut.root: cut.note for cut in plan.groups} == {
        "0": "cannot be narrower",
        "1": "",
        "2": "all of its channels rank higher than those removed",
    }
    low = make_plan(graph, INPUT, ratio=0.9, criterion="l1", floor=0.5)
    assert {cut.note for cut in low.groups} == {"at the floor"}


def test_the_table_has_a_row_per_group_and_per_skipped_layer(make_network: NetworkFactory) -> None:
    plan = _plan(make_network("resnet20"))
    table = plan.to_table()
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert list(rows) == [*(cut.root for cut in plan.groups), "classifier"]
    cut = next(cut for cut in plan.groups if cut.root == "stem.0")
    stem = rows["stem.0"]
    assert (stem["Layers"], stem["Channels"], stem["Kept"]) == (str(len(cut.layers)), "16", str(len(cut.kept)))
    assert f"{1 - plan.channels_after / plan.channels_before:.1%} of the channels" in table.title


def test_the_table_has_a_row_per_bottleneck_that_shrinks(make_network: NetworkFactory) -> None:
    plan = _plan(make_network("resnet20", "bam"), scope="local", bottlenecks="shrink")
    rows = [row for row in plan.to_table().rows if row[1].startswith("bottleneck")]
    assert len(rows) == len(plan.bottlenecks) == 2 * 4  # of 16 and of 32 channels, in 8 and in 16 units
    assert {row[3:5] for row in rows} == {("8", "4"), ("16", "8")}
    assert rows[0][:2] == (plan.bottlenecks[0].layer, "bottleneck channel")


def test_a_ratio_that_removes_nothing_is_refused(make_network: NetworkFactory) -> None:
    with pytest.raises(PruneError, match="removes no channel"):
        _plan(make_network("resnet20"), round_to=64)


@pytest.mark.parametrize("attention", ["none", "both", "se", "bam"])
def test_two_cuts_compose_to_one(make_network: NetworkFactory, attention: str) -> None:
    dense = make_network("resnet20", attention)
    first = _plan(dense, ratio=0.3, bottlenecks="shrink")
    once = _cut(dense, first)
    second = _plan(once, ratio=0.4, bottlenecks="shrink")
    twice = _cut(once, second)
    both = compose(first, second)
    direct = _cut(dense, both)
    expected = direct.state_dict()
    for name, tensor in twice.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], atol=1e-6, rtol=1e-6)
    assert both.macs_before == first.macs_before
    assert both.macs_after == _macs(direct)
    assert both.ratio == pytest.approx(1 - both.channels_after / both.channels_before)


def test_composing_keeps_what_only_the_first_cut() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 8, 1), nn.Conv2d(8, 4, 1))
    first = _plan(model, criterion="l1", scope="local")
    once = _cut(model, first)  # group 0 has one channel left and is no group any more
    second = _plan(once, criterion="l1", scope="local")
    both = compose(first, second)
    assert {cut.root: len(cut.kept) for cut in both.groups} == {"0": 1, "1": 2}
    assert both.ratio == pytest.approx(1 - 3 / 10)


def test_plans_that_do_not_follow_each_other_are_refused(make_network: NetworkFactory) -> None:
    plan = _plan(make_network("resnet20"))
    with pytest.raises(PruneError, match="was not made for"):
        compose(plan, plan)
