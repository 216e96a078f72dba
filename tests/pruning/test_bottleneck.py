"""Hidden dimensions that shrink with their channels: how far, which units, and where it pays."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from namprune.attention import Attention
from namprune.errors import PruneError
from namprune.pruning import ChannelGraph, ChannelGroup, prune_model
from namprune.pruning.bottleneck import BottleneckCut, chained, hidden_width, located, narrowed, shrinks, shrunk

INPUT = (3, 8, 8)
NetworkFactory = Callable[..., nn.Module]
Cuts = list[tuple[ChannelGroup, Tensor]]


def _cut(name: str, before: int, kept: Sequence[int]) -> BottleneckCut:
    return BottleneckCut(layer="gate", name=name, before=before, kept=tuple(kept))


def _halved(model: nn.Module) -> Cuts:
    """Every second channel of every group."""
    return [(group, torch.arange(0, group.size, 2)) for group in ChannelGraph(model, INPUT).groups]


def _units(model: nn.Module) -> dict[tuple[str, str], tuple[int, int]]:
    """Channels and hidden units by attention and hidden dimension."""
    return {
        (layer, name): (module.channels, bottleneck.units)
        for layer, module in model.named_modules()
        if isinstance(module, Attention)
        for name, bottleneck in module.bottlenecks().items()
    }


@pytest.mark.parametrize(
    ("units", "channels", "kept", "expected"),
    [
        (16, 256, 128, 8),
        (16, 256, 129, 9),  # in proportion, rounded up
        (16, 256, 256, 16),
        (16, 256, 1, 4),  # at least 4
        (4, 64, 10, 4),
        (3, 64, 10, 3),  # but never more than there are
        (7, 100, 99, 7),
        (5, 49, 48, 5),
    ],
)
def test_width_goes_with_the_channels(units: int, channels: int, kept: int, expected: int) -> None:
    assert hidden_width(units, channels, kept) == expected


@pytest.mark.parametrize(("attention", "dimensions"), [("none", 0), ("channel", 0), ("se", 1), ("cbam", 1), ("bam", 4)])
def test_every_hidden_dimension_keeps_its_best_units(
    make_network: NetworkFactory, attention: str, dimensions: int
) -> None:
    model = make_network("resnet20", attention)
    found = {(cut.layer, cut.name): cut for cut in shrunk(_halved(model))}
    widths = _units(model)
    assert found.keys() == widths.keys()
    assert len({name for _, name in found}) == dimensions
    for (layer, name), cut in found.items():
        channels, units = widths[layer, name]
        assert (cut.before, len(cut.kept)) == (units, max(4, units // 2))
        assert channels == 2 * units
        scores = model.get_submodule(layer).bottlenecks()[name].scores()
        assert list(cut.kept) == sorted(scores.topk(len(cut.kept)).indices.tolist())


def test_equal_units_go_in_order_of_position(make_network: NetworkFactory) -> None:
    model = make_network("resnet20", "se")
    for module in model.modules():
        if isinstance(module, Attention):
            for layer in (module.squeeze, module.excite):
                nn.init.ones_(layer.weight)
    assert {cut.kept for cut in shrunk(_halved(model))} == {(4, 5, 6, 7), tuple(range(8, 16)), tuple(range(16, 32))}


def test_only_attentions_that_lose_channels_are_touched(make_network: NetworkFactory) -> None:
    model = make_network("resnet20", "se")
    cuts = _halved(model)
    streams = [(group, keep) for group, keep in cuts if group.attentions]
    group, keep = streams[0]
    whole = [(other, torch.arange(other.size)) for other, _ in streams[1:]]
    assert {cut.layer for cut in shrunk([(group, keep), *whole])} == {member.name for member in group.attentions}
    stays = narrowed([(group, keep), *whole])
    assert all(torch.equal(kept, keep) for _, kept in stays.values())


@pytest.mark.parametrize(("attention", "expected"), [("none", False), ("channel", False), ("se", True), ("bam", False)])
def test_auto_shrinks_where_much_is_in_the_bottlenecks(
    make_network: NetworkFactory, attention: str, expected: bool
) -> None:
    model = make_network("resnet20", attention)
    inside = [
        parameter.numel()
        for module in model.modules()
        if isinstance(module, Attention) and module.bottlenecks()
        for parameter in module.parameters()
    ]
    assert (sum(inside) > 0.05 * sum(parameter.numel() for parameter in model.parameters())) is expected
    assert shrinks(model, "auto") is expected
    assert shrinks(model, "shrink")
    assert not shrinks(model, "keep")


def test_auto_leaves_small_bottlenecks(make_network: NetworkFactory) -> None:
    """16 to 64 channels behind 4 to 32 units, in a network whose last layer is enormous."""
    model = make_network("resnet20", "se")
    assert shrinks(model, "auto")
    model.classifier = nn.Linear(64, 10_000)
    assert not shrinks(model, "auto")


@pytest.mark.parametrize("attention", ["se", "bam"])
def test_each_cut_counts_from_the_widths_that_the_last_one_left(make_network: NetworkFactory, attention: str) -> None:
    model = make_network("resnet20", attention)
    for _ in range(3):
        before = _units(model)
        model = prune_model(model, torch.randn(2, *INPUT), ratio=0.5, scope="local", bottlenecks="shrink").model
        for key, (channels, units) in _units(model).items():
            were, hidden = before[key]
            assert channels == were // 2
            assert units == min(hidden, max(4, math.ceil(hidden * channels / were)))
    assert {units for _, units in _units(model).values()} == {4}


def test_cuts_are_chained_by_what_the_first_one_left() -> None:
    first = (_cut("a", 8, (1, 3, 4, 6, 7)), _cut("b", 8, (0, 2)))
    second = (_cut("a", 5, (0, 3)), _cut("c", 6, (2, 5)))
    assert chained(first, second) == (_cut("a", 8, (1, 6)), _cut("b", 8, (0, 2)), _cut("c", 6, (2, 5)))
    with pytest.raises(PruneError, match=r"gate\.b: the second plan was not made for"):
        chained(first, first[1:])


@pytest.mark.parametrize(
    ("layer", "name", "before"),
    [("stages.0.0.attention", "hidden", 7), ("stages.0.0.attention", "channel", 8), ("stages.0.0.conv1", "hidden", 8)],
)
def test_a_cut_of_another_network_is_not_located(
    make_network: NetworkFactory, layer: str, name: str, before: int
) -> None:
    cut = BottleneckCut(layer=layer, name=name, before=before, kept=(0, 1, 2, 3))
    with pytest.raises(PruneError, match=f"the plan has {before} units in {layer}.{name}, this network has not"):
        located(make_network("resnet20", "se"), cut)
