from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from namprune.attention import Attention
from namprune.errors import PruneError
from namprune.pruning import ChannelGraph, ChannelGroup
from namprune.pruning.knife import remove

INPUT = (3, 8, 8)
NetworkFactory = Callable[..., nn.Module]


class Concat(nn.Module):
    """Two branches side by side, then flattened into a linear layer of its own width."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 6, 3, padding=1)
        self.bn = nn.BatchNorm2d(10)
        self.conv = nn.Conv2d(10, 5, 3, padding=1)
        self.hidden, self.out = nn.Linear(5 * 4 * 4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn(torch.cat([self.left(x), self.right(x)], 1)))  # (N, 10, 4, 4)
        return self.out(torch.relu(self.hidden(self.conv(x).flatten(1))))


def _groups(model: nn.Module, input_shape: tuple[int, int, int] = INPUT) -> dict[str, ChannelGroup]:
    return {group.root: group for group in ChannelGraph(model, input_shape).groups}


def _but(size: int, *gone: int) -> Tensor:
    """All indices but some."""
    return torch.tensor([index for index in range(size) if index not in gone])


def _names(group: ChannelGroup, side: str) -> set[str]:
    return {member.name for member in group.members if member.side == side}


@pytest.mark.parametrize("attention", ["none", "both"])
@pytest.mark.parametrize(
    # a stream per stage and one or two inner widths per block; MobileNetV2: 17 inner, 7 stages, the head
    ("name", "count"),
    [("resnet20", 3 + 9), ("resnet18", 4 + 8), ("resnet50", 5 + 32), ("mobilenetv2", 17 + 7 + 1)],
)
def test_groups_are_those_counted_by_hand(make_network: NetworkFactory, name: str, count: int, attention: str) -> None:
    graph = ChannelGraph(make_network(name, attention), INPUT)
    assert len(graph.groups) == count
    assert graph.skipped == {"classifier": "its channels are the network's output"}


def test_every_layer_of_resnet20_is_made_once(make_network: NetworkFactory) -> None:
    model = make_network("resnet20")
    makers = [maker.name for group in _groups(model).values() for maker in group.makers]
    convolutions = [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]
    assert sorted(makers) == sorted(convolutions)


def test_layers_of_a_residual_stream(make_network: NetworkFactory) -> None:
    first = _groups(make_network("resnet20", "channel"))["stem.0"]
    assert first.size == 16
    assert _names(first, "out") == {"stem.0", "stages.0.0.conv2", "stages.0.1.conv2", "stages.0.2.conv2"}
    assert _names(first, "in") == {
        *("stages.0.0.conv1", "stages.0.1.conv1", "stages.0.2.conv1"),
        *("stages.1.0.conv1", "stages.1.0.shortcut.0"),
    }
    assert {norm.name for norm in first.norms} == {*("stem.1", "stages.0.0.bn2", "stages.0.1.bn2", "stages.0.2.bn2")}
    assert {(gate.name, gate.fed_by) for gate in first.attentions} == {
        (f"stages.0.{block}.attention", f"stages.0.{block}.bn2") for block in range(3)
    }


def test_interior_attention_is_fed_by_the_norm_before_it(make_network: NetworkFactory) -> None:
    fed = {
        gate.name: gate.fed_by
        for model in (make_network("resnet50", "both"), make_network("mobilenetv2", "both"))
        for group in _groups(model).values()
        for gate in group.attentions
    }
    assert fed["stages.1.2.interior1"] == "stages.1.2.bn1"
    assert fed["stages.1.2.interior2"] == "stages.1.2.bn2"
    assert fed["stages.1.2.attention"] == "stages.1.2.bn3"
    assert fed["blocks.4.interior"] == "blocks.4.depthwise.1"
    assert fed["blocks.4.attention"] == "blocks.4.project.1"
    assert len(fed) == 16 * 3 + 17 * 2


def test_a_depthwise_layer_is_in_and_out_at_once(make_network: NetworkFactory) -> None:
    groups = _groups(make_network("mobilenetv2"))
    group = next(group for group in groups.values() if "blocks.3.expand.0" in _names(group, "out"))
    assert _names(group, "both") == {"blocks.3.expand.1", "blocks.3.depthwise.0", "blocks.3.depthwise.1"}
    assert _names(group, "in") == {"blocks.3.project.0"}


def test_tracing_and_cutting_leave_mode_and_gradients_alone(make_network: NetworkFactory) -> None:
    model = make_network("resnet20", "channel")
    model.stem.requires_grad_(False)
    model.stages[1].eval()
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    modes = {name: module.training for name, module in model.named_modules()}
    remove(model, [(_groups(model)["stem.0"], _but(16, 1, 5))])
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == flags
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert not Attention._opaque  # noqa: SLF001
    assert model.stem[0].weight.shape[0] == 14


def test_concatenated_channels_are_shifted_and_flattened_ones_repeated() -> None:
    groups = _groups(Concat(), (3, 4, 4))
    right = {member.name: member for member in groups["right"].members}
    assert right["bn"].positions.tolist() == right["conv"].positions.tolist() == [4, 5, 6, 7, 8, 9]
    assert right["conv"].channels.tolist() == [0, 1, 2, 3, 4, 5]
    hidden = {member.name: member for member in groups["conv"].members}["hidden"]
    assert hidden.positions.tolist() == list(range(80))
    assert hidden.channels.tolist() == [position // 16 for position in range(80)]


def test_a_concatenation_is_cut_at_the_right_places() -> None:
    model = Concat()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    groups = _groups(model, (3, 4, 4))
    remove(model, [(groups["left"], _but(4, 1)), (groups["right"], _but(6, 0, 5))])
    stays = [0, 2, 3, 5, 6, 7, 8]
    assert torch.equal(model.conv.weight, before["conv.weight"][:, stays])
    assert torch.equal(model.right.weight, before["right.weight"][1:5])
    assert model(torch.randn(2, 3, 4, 4)).shape == (2, 3)


def test_what_cannot_be_cut_is_named() -> None:
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1, groups=2), nn.Conv2d(4, 1, 1), nn.Conv2d(1, 6, 1)),
        *(nn.Flatten(), nn.Linear(24, 3)),
    )
    graph = ChannelGraph(model, (3, 2, 2))
    assert [group.root for group in graph.groups] == ["3"]
    assert graph.skipped == {
        "5": "its channels are the network's output",
        "2": "it has one channel",
        "1": "1 is a grouped convolution whose groups have other inputs than outputs",
        "0": "1 is a grouped convolution whose groups have other inputs than outputs",
    }


def test_a_network_that_does_not_run_is_refused() -> None:
    with pytest.raises(PruneError, match="cannot be traced"):
        ChannelGraph(nn.Conv2d(4, 8, 3), INPUT)
