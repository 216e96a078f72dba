"""Grouped convolutions: whole groups go, through every layer around them. The reference is masked by hooks."""

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from namprune.checkpoint import to_bytes
from namprune.errors import PruneError
from namprune.measure import complexity
from namprune.pruning import ChannelGraph, ChannelGroup, PruningPlan, compose, dead_plan, make_plan, prune_model
from namprune.pruning.apply import PROOF_TOLERANCE
from namprune.pruning.knife import remove

SHAPE = (3, 5, 5)
PICTURES = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """One or more grouped convolutions of 24 channels in a row, between plain ones."""

    def __init__(self, *groups: int) -> None:
        super().__init__()
        widths = [3, 24, *[24] * len(groups), 6]
        convs = [
            nn.Conv2d(before, after, 3, padding=1, groups=count)
            for before, after, count in zip(widths, widths[1:], (1, *groups, 1), strict=False)
        ]
        self.convs = nn.ModuleList(convs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(after) for after in widths[1:])
        self.out = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = torch.relu(norm(conv(x)))
        out: Tensor = self.out(x.mean((2, 3)))
        return out


def _net(*groups: int) -> Net:
    torch.manual_seed(0)
    model = Net(*groups)
    with torch.no_grad():
        for norm in model.norms:
            norm.weight.uniform_(0.2, 2)
            norm.bias.normal_()
            norm.running_mean.normal_(std=0.1)
    return model


def _group(model: Net) -> ChannelGroup:
    return next(group for group in ChannelGraph(model, SHAPE).groups if group.size == 24)


def _zeroed(model: Net, gone: Sequence[int]) -> Tensor:
    """Logits with channels of the wide layers at zero behind their ReLUs."""
    dense = copy.deepcopy(model).eval()
    for conv in [*dense.convs][1:]:
        conv.register_forward_pre_hook(lambda _, inputs: (inputs[0].index_fill(1, torch.tensor(gone), 0.0),))
    return dense(PICTURES).detach()


@pytest.mark.parametrize(
    ("groups", "unit"),
    # by 4; by 4 and 8, one in the other; by 4 and 6, whose borders meet every 12; depthwise; by 8 and depthwise
    [((6,), 4), ((6, 3), 8), ((6, 4), 12), ((24,), 1), ((3, 24), 8)],
)
@pytest.mark.parametrize("criterion", ["l1", "bn", "nam", "random", "fpgm", "lamp"])
def test_whole_groups_go(groups: tuple[int, ...], unit: int, criterion: str) -> None:
    model = _net(*groups)
    group = _group(model)
    assert group.unit == unit
    last, left = f"convs.{len(groups) + 1}", 24 - 12 // unit * unit
    pruned = prune_model(model, PICTURES, ratio=0.5, criterion=criterion, scope="local", keep=[last])
    assert pruned.proof <= PROOF_TOLERANCE
    (cut,) = (cut for cut in pruned.plan.groups if cut.before == 24)
    assert len(cut.kept) == left
    assert {index - index % unit for index in cut.kept} == set(cut.kept[::unit])
    torch.testing.assert_close(pruned.model.eval()(PICTURES), _zeroed(model, cut.removed), rtol=1e-4, atol=1e-5)
    for before, after in zip(model.convs[1:-1], pruned.model.convs[1:-1], strict=True):
        assert (after.in_channels, after.out_channels, after.groups) == (left, left, before.groups * left // 24)
        assert after.weight.shape[1:] == before.weight.shape[1:]
    assert complexity(pruned.model, SHAPE).macs == pruned.plan.macs_after
    pruned.model.train()(PICTURES).sum().backward()
    assert all(one.grad is not None and one.grad.shape == one.shape for one in pruned.model.parameters())


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"ratio": 0.3}, 20),  # 7 of 24: one unit of 4, two would be 8
        ({"ratio": 0.9, "floor": 0.0}, 4),
        ({"ratio": 0.9, "floor": 0.3}, 8),  # 7.2 channels at least
        ({"ratio": 0.5, "round_to": 2}, 12),
        ({"ratio": 0.5, "round_to": 8}, 16),  # 12 is no multiple
        ({"ratio": 0.5, "round_to": 6}, 12),
        ({"ratio": 0.7, "round_to": 6}, 12),  # 8 is no multiple of 6
    ],
)
def test_widths_are_what_units_floor_and_divisor_admit(options: dict[str, float], kept: int) -> None:
    plan = make_plan(ChannelGraph(_net(6), SHAPE), SHAPE, criterion="l1", scope="local", **options)
    (cut,) = (cut for cut in plan.groups if cut.before == 24)
    assert len(cut.kept) == kept
    assert "at the floor" in cut.note or kept > 8


def test_the_score_of_a_unit_is_the_mean_of_its_channels() -> None:
    model = _net(6)
    group = _group(model)
    scores = torch.arange(24.0)
    scores[4] = 100  # of a channel of the second unit, which now ranks above all others
    plan = make_plan(
        ChannelGraph(model, SHAPE), SHAPE, ratio=0.8, criterion=lambda one: scores[: one.size], keep=["out"]
    )
    (cut,) = (cut for cut in plan.groups if cut.before == 24)
    assert cut.scores[4:8] == pytest.approx([(100 + 5 + 6 + 7) / 4] * 4)
    assert set(cut.kept) >= {4, 5, 6, 7}
    assert group.per_unit(scores, reduce="amax")[4:8].tolist() == [100.0] * 4


def test_a_unit_cannot_be_torn_apart() -> None:
    model = _net(6)
    before = to_bytes(model)
    with pytest.raises(PruneError, match="only go 4 at once"):
        remove(model, [(_group(model), torch.arange(1, 24))])
    assert to_bytes(model) == before


def test_only_units_that_are_dead_as_a_whole_are_dead() -> None:
    model = _net(6)
    with torch.no_grad():
        for norm in list(model.norms)[:2]:
            norm.weight[4:8] = norm.weight[9:12] = norm.bias[4:8] = 0
    plan = dead_plan(ChannelGraph(model, SHAPE), SHAPE, floor=0.1)
    assert plan is not None
    assert {cut.root: cut.removed for cut in plan.groups if cut.removed} == {_group(model).root: (4, 5, 6, 7)}


def test_two_cuts_are_one() -> None:
    model = _net(6)
    first = prune_model(model, PICTURES, ratio=0.4, criterion="l1")
    second = prune_model(first.model, PICTURES, ratio=0.3, criterion="l1")
    both = PruningPlan.from_json(compose(first.plan, second.plan).to_json(), source="plan")
    both.apply(model, pictures=PICTURES)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), second.model.parameters(), strict=True))
    assert both.channels_after == second.plan.channels_after


class Beside(nn.Module):
    """Groups of a convolution that hold channels of two layers, one of which is read past it."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 6, 1), nn.Conv2d(3, 6, 1)
        self.grouped, self.out, self.past = nn.Conv2d(12, 12, 1, groups=3), nn.Conv2d(12, 2, 1), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        left = self.left(x)
        out: Tensor = self.out(torch.relu(self.grouped(torch.cat([left, self.right(x)], 1))))
        return out + self.past(left)


def test_a_group_with_channels_of_two_layers_goes_with_both() -> None:
    torch.manual_seed(0)
    pruned = prune_model(Beside(), PICTURES, ratio=0.4, criterion=lambda _: -torch.arange(12.0).sub(5).abs())
    assert pruned.proof <= PROOF_TOLERANCE
    assert [cut.removed for cut in pruned.plan.groups] == [(8, 9, 10, 11)]
    assert (pruned.model.left.out_channels, pruned.model.right.out_channels, pruned.model.grouped.groups) == (6, 2, 2)


class Chained(nn.Module):
    """Groups that reach from each layer into the next."""

    def __init__(self) -> None:
        super().__init__()
        self.made = nn.ModuleList(nn.Conv2d(3, 6, 1) for _ in range(3))
        self.first, self.second = nn.Conv2d(12, 12, 1, groups=3), nn.Conv2d(12, 12, 1, groups=3)
        self.out = nn.Conv2d(24, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        one, two, three = (conv(x) for conv in self.made)
        first, second = self.first(torch.cat([one, two], 1)), self.second(torch.cat([two, three], 1))
        out: Tensor = self.out(torch.cat([first, second], 1))
        return out


def test_groups_that_reach_on_and_on_are_left_alone_by_name() -> None:
    graph = ChannelGraph(Chained(), SHAPE)
    assert graph.groups == ()
    assert "hold channels of several layers" in " ".join(graph.skipped.values())
