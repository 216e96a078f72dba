"""Scores from gradients, against the loss itself: what it does when a gate is really moved."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from namprune.pruning import ChannelGraph, ChannelGroup
from namprune.pruning.gradients import taylor_importance
from namprune.pruning.group import Member
from namprune.pruning.importance import score_groups

INPUT = (3, 4, 4)


def _batches(*sizes: int, classes: int = 3) -> list[tuple[Tensor, Tensor]]:
    return [(torch.randn(size, *INPUT, dtype=torch.float64), torch.randint(classes, (size,))) for size in sizes]


def _scores(model: nn.Module, criterion: str, batches: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    graph = ChannelGraph(model, INPUT)
    scores = score_groups(graph, criterion, batches=batches)
    return {group.root: score for group, score in zip(graph.groups, scores, strict=True)}


class Residual(nn.Module):
    """A stream that two BatchNorms write to, in float64."""

    def __init__(self, *, norms: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.block = nn.Conv2d(3, 4, 3, bias=not norms), nn.Conv2d(4, 4, 1, bias=not norms)
        self.bn1, self.bn2 = (nn.BatchNorm2d(4) if norms else nn.Identity() for _ in range(2))
        self.drop, self.out = nn.Dropout(0.5), nn.Linear(4, 3)
        for parameter in self.parameters():
            nn.init.normal_(parameter)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.stem(x))
        x = torch.relu(x + self.bn2(self.block(torch.relu(x))))
        return self.out(self.drop(x.mean((2, 3))))


def _loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> float:
    with torch.no_grad():
        return float(F.cross_entropy(model(batch[0]), batch[1]))


def _slope(model: nn.Module, layer: str, channel: int, batch: tuple[Tensor, Tensor]) -> float:
    """Change of the loss per share that a gate is scaled up, by central differences."""
    losses, step = [], 1e-5
    for sign in (1, -1):
        moved = copy.deepcopy(model).eval()
        for parameter in moved.get_submodule(layer).parameters():
            parameter.data[channel] *= 1 + sign * step
        losses.append(_loss(moved, batch))
    return (losses[0] - losses[1]) / (2 * step)


@pytest.mark.parametrize(("norms", "gates"), [(True, ("bn1", "bn2")), (False, ("stem", "block"))])
def test_taylor_is_what_the_loss_does_when_a_gate_is_moved(norms: bool, gates: tuple[str, ...]) -> None:
    model, batches = Residual(norms=norms), _batches(5, 2)
    expected = [
        sum(_slope(model, gate, channel, batch) ** 2 for gate in gates for batch in batches) / len(batches)
        for channel in range(4)
    ]
    (score,) = _scores(model, "taylor", batches).values()
    torch.testing.assert_close(score, torch.tensor(expected), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(("norms", "gates"), [(True, ("bn1", "bn2")), (False, ("stem", "block"))])
def test_obd_is_half_the_squared_products_one_by_one(norms: bool, gates: tuple[str, ...]) -> None:
    model, batches = Residual(norms=norms), _batches(5, 2)
    expected = torch.zeros(4, dtype=torch.float64)
    for x, y in batches:
        reference = copy.deepcopy(model).eval()
        F.cross_entropy(reference(x), y).backward()
        for gate in gates:
            for parameter in reference.get_submodule(gate).parameters():
                for channel in range(4):
                    for g, w in zip(parameter.grad[channel].flatten(), parameter[channel].flatten(), strict=True):
                        expected[channel] += (g * w).detach() ** 2 / 2 / len(batches)
    (score,) = _scores(model, "obd", batches).values()
    torch.testing.assert_close(score.double(), expected, rtol=1e-5, atol=1e-9)


def test_obd_is_the_second_order_term_where_fisher_is_the_hessian() -> None:
    # Two classes of equal logits, one picture of each: the mean of the squared gradients is the Hessian's diagonal.
    model = nn.Sequential(nn.Conv2d(3, 3, 4, bias=False), nn.Flatten(), nn.Linear(3, 2, bias=False)).double()
    weight, picture = torch.tensor([0.7, 0.7, 1.5]), torch.zeros(1, *INPUT, dtype=torch.float64)
    model[0].weight.data.zero_()[:, 0, 0, 0] = weight
    model[2].weight.data = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 2.0]], dtype=torch.float64)
    picture[0, 0, 0, 0] = 3.0

    def loss(w: Tensor) -> Tensor:
        logits = model[2].weight @ (w * 3.0)
        return (F.cross_entropy(logits, torch.tensor(0)) + F.cross_entropy(logits, torch.tensor(1))) / 2

    hessian = torch.autograd.functional.hessian(loss, weight.double())
    expected = hessian.diagonal() * weight.double() ** 2 / 2
    (score,) = _scores(model, "obd", [(picture, torch.tensor([label])) for label in (0, 1)]).values()
    torch.testing.assert_close(score.double(), expected)
    assert score[0] > 0


def test_positions_of_a_channel_are_added_before_the_square() -> None:
    norm = nn.BatchNorm1d(4)
    member = Member("norm", norm, "both", torch.arange(4), torch.tensor([0, 0, 1, 1]))
    products = {norm.weight: torch.tensor([1.0, -3.0, 2.0, 5.0]), norm.bias: torch.tensor([0.5, 0.0, -1.0, 1.0])}
    score = taylor_importance(ChannelGroup("fc", 2, (member,)), products)
    assert score.tolist() == [(1 - 3 + 0.5) ** 2, (2 + 5 - 1 + 1) ** 2]


@pytest.mark.parametrize("criterion", ["taylor", "obd"])
def test_the_network_is_left_as_it_was(criterion: str) -> None:
    model = Residual().train()
    model.bn2.eval()
    model.stem.weight.requires_grad_(False)
    model.bn1.weight.requires_grad_(False)
    model.out.weight.grad = torch.ones_like(model.out.weight)
    before = copy.deepcopy(model)
    with torch.no_grad():  # as a caller may have it
        scores = _scores(model, criterion, _batches(4))
    assert all(score.min() > 0 for score in scores.values())  # a frozen gate is judged like any other
    assert [module.training for module in model.modules()] == [module.training for module in before.modules()]
    for ours, theirs in zip(model.parameters(), before.parameters(), strict=True):
        assert ours.requires_grad == theirs.requires_grad
    assert [name for name, parameter in model.named_parameters() if parameter.grad is not None] == ["out.weight"]
    assert torch.equal(model.out.weight.grad, torch.ones_like(model.out.weight))
    for name, value in before.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


def test_the_mode_comes_back_after_a_fault() -> None:
    model = Residual().train()
    with pytest.raises(RuntimeError, match="5 channels"):
        _scores(model, "taylor", [(torch.zeros(1, 5, 4, 4, dtype=torch.float64), torch.tensor([0]))])
    assert all(module.training for module in model.modules())


def test_dropout_and_the_order_of_the_batches_do_not_matter() -> None:
    model, batches = Residual().train(), _batches(4, 4, 4)
    first, second = (_scores(model, "taylor", order) for order in (batches, batches[::-1]))
    for root, score in first.items():
        torch.testing.assert_close(score, second[root])
