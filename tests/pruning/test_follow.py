"""Channels through operations between layers; the reference is what a change of a channel changes behind them."""

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from namprune.attention import Attention
from namprune.attention.sa import SA
from namprune.attention.ulsam import ULSAM
from namprune.errors import ProofError, PruneError
from namprune.pruning import ChannelGraph, prune_model
from namprune.pruning.apply import PROOF_TOLERANCE

SHAPE = (3, 6, 6)
Operation = Callable[[Tensor], Tensor]


class Between(nn.Module):
    """An operation between a layer that makes four channels and one that reads them, and two free layers behind."""

    def __init__(self, operation: Operation, reader: nn.Module) -> None:
        super().__init__()
        self.maker, self.reader, self.operation = nn.Conv2d(3, 4, 3, padding=1), reader, operation
        self.norm = nn.BatchNorm2d(4)
        self.free, self.out = nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reader(self.operation(self.norm(self.maker(x))))
        if x.ndim > 2:
            x = x.mean((2, 3)) if isinstance(self.reader, nn.Conv2d) else x.flatten(1, -2).mean(1)
        out: Tensor = self.out(torch.relu(self.free(x)))
        return out


def _view_gate(x: Tensor) -> Tensor:
    b, c, _, _ = x.size()
    return x * F.adaptive_avg_pool2d(x, 1).view(b, c).sigmoid().view(b, c, 1, 1)


def _put(x: Tensor) -> Tensor:
    y = torch.zeros(len(x), 4, 6, 6).to(x)
    y[:, :] = x
    return y


CARRYING: dict[str, tuple[Operation, nn.Module]] = {
    "pooled": (lambda x: F.max_pool2d(torch.relu(x), 2), nn.Conv2d(4, 5, 1)),
    "in place": (lambda x: x.mul_(2).relu_(), nn.Conv2d(4, 5, 1)),
    "flattened": (lambda x: x.flatten(1), nn.Linear(144, 5)),
    "viewed": (lambda x: x.view(x.size(0), -1), nn.Linear(144, 5)),
    "averaged": (lambda x: x.mean((2, 3)), nn.Linear(4, 5)),
    "averaged behind a permutation": (lambda x: x.permute(0, 2, 3, 1).mean((1, 2)), nn.Linear(4, 5)),
    "squeezed": (lambda x: F.adaptive_avg_pool2d(x, 1).squeeze(), nn.Linear(4, 5)),
    "last": (lambda x: x.permute(0, 2, 3, 1), nn.Linear(4, 5)),
    "tokens": (lambda x: x.flatten(2).transpose(1, 2), nn.Linear(4, 5)),
    "cropped": (lambda x: x[:, :, 1:5, ::2], nn.Conv2d(4, 5, 1)),
    "cropped from the right": (lambda x: x[..., 1:, :4], nn.Conv2d(4, 5, 1)),
    "up to a number": (lambda x: x[:, :4], nn.Conv2d(4, 5, 1)),
    "gated": (lambda x: x * x.mean((2, 3))[:, :, None, None].sigmoid(), nn.Conv2d(4, 5, 1)),
    "gated through views": (_view_gate, nn.Conv2d(4, 5, 1)),
    "expanded": (lambda x: x.amax((2, 3), keepdim=True).expand(-1, -1, 6, 6), nn.Conv2d(4, 5, 1)),
    "beside itself": (lambda x: torch.cat([x, x.relu()], 1), nn.Conv2d(8, 5, 1)),
    "above itself": (lambda x: torch.cat([x, x], 2), nn.Conv2d(4, 5, 1)),
    "flat beside averages": (lambda x: torch.cat([x.flatten(1), x.mean((2, 3))], 1), nn.Linear(148, 5)),
    "resized and padded": (lambda x: F.pad(F.interpolate(x, scale_factor=2), (1, 1, 0, 2)), nn.Conv2d(4, 5, 1)),
    "by one map": (lambda x: x * torch.linspace(0, 1, 36).view(1, 1, 6, 6), nn.Conv2d(4, 5, 1)),
}

ENDING: dict[str, tuple[Operation, nn.Module, str]] = {
    "shuffled": (
        lambda x: x.view(x.size(0), 2, 2, 6, 6).transpose(1, 2).reshape(x.size(0), 4, 6, 6),
        nn.Conv2d(4, 5, 1),
        "rearranged by view",
    ),
    "swapped halves": (lambda x: torch.cat([*x.chunk(2, 1)][::-1], 1), nn.Conv2d(4, 5, 1), "taken apart by chunk"),
    "one half": (lambda x: x[:, 2:], nn.Conv2d(2, 5, 1), "taken apart by getitem"),
    "flipped": (lambda x: x.flip(1), nn.Conv2d(4, 5, 1), "mixed by flip"),
    "shares": (lambda x: x.softmax(1), nn.Conv2d(4, 5, 1), "mixed by softmax"),
    "their mean": (lambda x: x * x.mean(1, keepdim=True), nn.Conv2d(4, 5, 1), "mixed by mean"),
    "all": (lambda x: x * x.mean(), nn.Conv2d(4, 5, 1), "mixed by mean"),
    "scaled": (lambda x: x * torch.arange(1.0, 5.0).view(4, 1, 1).to(x), nn.Conv2d(4, 5, 1), "a value for each"),
    "a fixed number": (lambda x: x.view(-1, 144), nn.Linear(144, 5), "rearranged by view"),
    "padded with channels": (lambda x: F.pad(x, (0, 0, 0, 0, 1, 1)), nn.Conv2d(6, 5, 1), "mixed by pad"),
    "lines for channels": (lambda x: x.transpose(1, 2), nn.Conv2d(6, 5, 1), "not those that reader takes"),
    "put into another": (_put, nn.Conv2d(4, 5, 1), "not those that reader takes|mixed by setitem"),
    "added to a constant": (
        lambda x: torch.ones(len(x), 4, 6, 6, dtype=x.dtype).add_(x),
        nn.Conv2d(4, 5, 1),
        "add meets its channels with a value for each",
    ),
    "compared": (lambda x: x * (x > 0), nn.Conv2d(4, 5, 1), "mixed by gt|mul meets its channels"),
    "detached": (lambda x: x.detach(), nn.Conv2d(4, 5, 1), "mixed by detach"),
    "beside a constant": (
        lambda x: torch.cat([x, torch.ones_like(x[:, :1])], 1),
        nn.Conv2d(5, 5, 1),
        "set beside what stays by cat|taken apart",
    ),
    "normalized over channels": (lambda x: F.layer_norm(x, x.shape[1:]), nn.Conv2d(4, 5, 1), "mixed by layer_norm"),
    "contracted": (lambda x: torch.einsum("nchw,ndhw->nchw", x, x), nn.Conv2d(4, 5, 1), "mixed by einsum"),
}


def _influence(model: Between, shape: tuple[int, int, int]) -> set[tuple[int, int]]:
    """Pairs of an input of the reader and the channel of the maker that changes it."""
    seen: list[Tensor] = []
    model.reader.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    pictures = torch.randn(2, *shape)
    channels = -1 if isinstance(model.reader, nn.Linear) else 1
    found = set()
    with torch.no_grad():
        model.eval()(pictures)
        for channel in range(4):
            for change in (0.7, -1.3):  # one of both passes a ReLU
                model.norm.bias[channel] += change
                model(pictures)
                model.norm.bias[channel] -= change
                changed = (seen[-1] != seen[0]).movedim(channels, 0).flatten(1).any(1)
                found |= {(place, channel) for place in changed.nonzero().flatten().tolist()}
    return found


@pytest.mark.parametrize("name", CARRYING)
def test_channels_are_found_where_they_act(name: str) -> None:
    torch.manual_seed(0)
    model = Between(*CARRYING[name])
    nn.init.uniform_(model.norm.weight, 0.5, 1.5)
    graph = ChannelGraph(model, SHAPE)
    (reader,) = next(group for group in graph.groups if group.root == "maker").readers
    places = set(zip(reader.positions.tolist(), reader.channels.tolist(), strict=True))
    assert places == _influence(model, SHAPE)
    pruned = prune_model(model, torch.randn(2, *SHAPE), ratio=0.5, criterion="random", scope="local")
    assert pruned.proof <= PROOF_TOLERANCE
    assert pruned.model.maker.out_channels == 2


@pytest.mark.parametrize("name", ENDING)
def test_what_is_not_understood_is_left_alone_and_it_alone(name: str) -> None:
    torch.manual_seed(0)
    operation, reader, why = ENDING[name]
    model = Between(operation, reader)
    graph = ChannelGraph(model, SHAPE)
    assert {group.root for group in graph.groups} == {"reader", "free"}
    assert re.search(why, graph.skipped["maker"])
    pruned = prune_model(model, torch.randn(2, *SHAPE), ratio=0.5, criterion="l1", scope="local")
    assert pruned.proof <= PROOF_TOLERANCE
    assert pruned.model.maker.out_channels == 4
    assert pruned.model.free.in_features < 5


class Gates(nn.Module):
    """Attention of the kind that torch-pruning alone never ends on, called past the module that is known."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.first, self.attention = nn.Conv2d(3, 8, 1), attention
        self.second, self.third = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for _ in range(3):
            x = x + self.attention.attend(x)
        out: Tensor = self.third(torch.relu(self.second(x))).mean((2, 3))
        return out


@pytest.mark.parametrize("attention", [SA(8, (6, 6), groups=2), ULSAM(8, (6, 6), groups=2)], ids=["sa", "ulsam"])
def test_it_ends_on_foreign_attention(attention: Attention) -> None:
    pruned = prune_model(Gates(attention), torch.randn(2, *SHAPE), ratio=0.5, criterion="l1")
    assert [cut.root for cut in pruned.plan.groups] == ["second"]
    assert "its channels" in pruned.plan.skipped["first"]
    assert pruned.proof <= PROOF_TOLERANCE


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (nn.PReLU(8), "1 is a PReLU, which cannot be cut"),
        (nn.LayerNorm([8, 6, 6]), "1 is a LayerNorm, which normalizes over the channels"),
        (nn.GroupNorm(2, 8), "1 is a GroupNorm, which normalizes over the channels"),
        (nn.ConvTranspose2d(8, 8, 1), "1 is a ConvTranspose2d, which cannot be cut"),
        (nn.Conv2d(8, 4, 1, groups=2), "1 is a grouped convolution whose groups have other inputs than outputs"),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 1)), "1 is a ParametrizedConv2d, which cannot be cut"),
        (nn.Sigmoid(), "2 reads no zeros where its channels are zero: an activation is not 0 at 0"),
        (nn.BatchNorm2d(8, affine=False), "2 reads no zeros where its channels are zero: an activation is not 0 at 0"),
        (nn.Softmax(1), "its channels are mixed by softmax in 1"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_layers_that_keep_channels_say_so(layer: nn.Module, why: str) -> None:
    if isinstance(layer, nn.BatchNorm2d):
        nn.init.ones_(layer.running_mean)
    model = nn.Sequential(nn.Conv2d(3, 8, 1), layer, nn.LazyConv2d(6, 1), nn.Conv2d(6, 2, 1))
    model(torch.randn(1, *SHAPE))
    graph = ChannelGraph(model, SHAPE)
    assert graph.skipped["0"] == why
    assert {group.root for group in graph.groups} == {"2"}
    assert prune_model(model, torch.randn(2, *SHAPE), ratio=0.5, criterion="l1").proof <= PROOF_TOLERANCE


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.scale, self.out = nn.Conv2d(3, 4, 1), nn.Parameter(torch.ones(4, 1, 1)), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.conv(x) * self.scale)
        return out


def test_a_network_of_which_nothing_can_go_is_refused_by_name() -> None:
    with pytest.raises(PruneError, match="conv: scale is a parameter with a value for each channel"):
        prune_model(Scaled(), torch.randn(1, *SHAPE), ratio=0.5, criterion="l1")


def test_a_long_way_is_followed_to_its_end() -> None:
    layers = [nn.Conv2d(3, 8, 1), *(nn.ReLU() for _ in range(600)), nn.Flatten(), nn.Linear(8 * 36, 4)]
    (group,) = ChannelGraph(nn.Sequential(*layers), SHAPE).groups
    assert (group.root, group.size) == ("0", 8)
    assert torch.equal(group.readers[0].channels, torch.arange(8 * 36) // 36)


class Shared(nn.Module):
    """One layer reads what a layer made, and the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.twice, self.out = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 6, 1), nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(torch.relu(self.twice(self.first(x)) + self.twice(x)))
        return out


def test_a_layer_that_reads_a_constant_once_reads_all_of_everything() -> None:
    pruned = prune_model(Shared(), torch.randn(1, *SHAPE), ratio=0.5, criterion="l1")
    assert pruned.plan.skipped["first"] == "twice reads what stays, too"
    assert (pruned.model.twice.in_channels, pruned.model.twice.out_channels) == (3, 3)
    assert pruned.proof <= PROOF_TOLERANCE


def test_code_that_counts_on_a_width_is_no_way_to_a_wrong_network() -> None:
    model = Between(lambda x: x.view(x.size(0), 4, 36).mean(2), nn.Linear(4, 5))
    with pytest.raises(ProofError, match="the cut network does not run"):
        prune_model(model, torch.randn(1, *SHAPE), ratio=0.5, criterion="l1")
    kept = prune_model(model, torch.randn(1, *SHAPE), ratio=0.5, criterion="l1", keep=["maker"])
    assert kept.proof <= PROOF_TOLERANCE
