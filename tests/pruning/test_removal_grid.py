"""Removal through every attention in every network: one cut per pair always, the whole grid behind `-m grid`."""

import itertools
import math
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from namprune.attention import Attention
from namprune.checkpoint import load_network, to_bytes
from namprune.choices import BottleneckRule, Scope
from namprune.data import build_data
from namprune.measure import complexity
from namprune.models import build_model
from namprune.pruning import ChannelGraph, ChannelGroup, PruningPlan, prune_model
from namprune.pruning.apply import PROOF_TOLERANCE
from namprune.recipe import load_recipe
from namprune.training import fit

Shape = tuple[int, int, int]

VARIANTS = {
    "none": ("attention.name=none",),
    "nam-channel": ("attention.name=nam",),
    "nam-spatial": ("attention.name=nam", "attention.part=spatial"),
    "nam-both": ("attention.name=nam", "attention.part=both"),
    "se": ("attention.name=se",),
    "cbam": ("attention.name=cbam",),
    "bam-sum": ("attention.name=bam",),
    "bam-mul": ("attention.name=bam", "attention.combine=mul"),
    "sa": ("attention.name=sa",),
    "ulsam": ("attention.name=ulsam",),
    "eca": ("attention.name=eca",),
    "half": ("attention.name=half",),
}
"""What a recipe says for each; the placement is the attention's default."""

SHRUNK = ("se", "cbam", "bam-sum")
"""Cut once more with bottlenecks that shrink; those of `bam-mul` are those of `bam-sum`, the others have none."""

NETWORKS = ("mobilenetv2", "resnet20", "resnet18", "resnet50")
CUTS: tuple[tuple[float, Scope], ...] = tuple(itertools.product((0.3, 0.5, 0.7), ("global", "local")))
SMALL = {"mobilenetv2": 0.5, "resnet20": 1.0, "resnet18": 0.25, "resnet50": 0.25}
ROWS: list[tuple[str, BottleneckRule]] = [
    *((variant, "keep") for variant in VARIANTS),
    *((variant, "shrink") for variant in SHRUNK),
]
DIAGONAL = [
    (network, *kind, *CUTS[(row + column) % len(CUTS)])
    for row, kind in enumerate(ROWS)
    for column, network in enumerate(NETWORKS)
]
GRID = [(network, *kind, *cut) for network, kind, cut in itertools.product(NETWORKS, ROWS, CUTS)]

SECONDS, BYTES = 30, 4e9
"""That the largest cut may take."""


def _bam(channels: int, hidden: int) -> int:
    dilated = 2 * (9 * hidden * hidden + hidden) + hidden + 1  # two 3x3 convolutions and one to a single map
    return 3 * channels * hidden + channels + 2 * hidden + 4 * 2 * hidden + dilated  # with four norms


PER_CHANNEL = {"nam-channel": 2, "nam-both": 2, "ulsam": 5}  # γ, β; depthwise weight and bias, pointwise weight
"""Parameters that an attention loses with each channel; those not in either table share theirs or have none."""

BY_WIDTHS: dict[str, Callable[[int, int], int]] = {
    "se": lambda channels, hidden: 2 * channels * hidden + hidden + channels,
    "cbam": lambda channels, hidden: 2 * channels * hidden + hidden + channels + 2 * 7 * 7 + 2,
    "bam-sum": _bam,
    "bam-mul": _bam,
}
"""Parameters of an attention with a bottleneck, from its channels and hidden units."""


def _attention_parameters(module: Attention, left: int, variant: str, *, shrink: bool) -> int:
    """Those of an attention that has `left` channels left."""
    if variant not in BY_WIDTHS:
        lost = PER_CHANNEL.get(variant, 0) * (module.channels - left)
        return sum(parameter.numel() for parameter in module.parameters()) - lost
    hidden = max(4, module.channels // 16)
    return BY_WIDTHS[variant](left, max(4, math.ceil(hidden * left / module.channels)) if shrink else hidden)


@torch.no_grad()
def _network(name: str, variant: str, shape: Shape, *, width: float) -> nn.Module:
    """Every factor and statistic its own, no gate at the neutral point where it starts."""
    overrides = [f"model.name={name}", f"model.width={width}", *VARIANTS[variant]]
    model = build_model(load_recipe("resnet20", overrides=overrides), classes=10, input_shape=shape)
    torch.manual_seed(0)
    for gate in (module for module in model.modules() if isinstance(module, Attention)):
        for parameter in gate.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    for norm in (module for module in model.modules() if isinstance(module, _BatchNorm)):
        norm.weight.uniform_(0.1, 2.0)
        norm.bias.normal_(std=0.5)
        norm.momentum = 1.0
    model.train()(torch.randn(8, *shape))  # true statistics, or deep networks deliver nothing
    return model


def _parameters(
    model: nn.Module, groups: Sequence[ChannelGroup], plan: PruningPlan, variant: str, *, shrink: bool
) -> int:
    """Parameters that the dense `model` has left when its groups get the widths of the plan, counted by hand."""
    kept = {cut.root: len(cut.kept) for cut in plan.groups}
    ends = {
        (member.name, end): kept[group.root]
        for group in groups
        for member in group.members
        for end in (("in", "out") if member.side == "both" else (member.side,))
    }
    total = 0
    gated: tuple[str, ...] = ()
    for name, module in model.named_modules():
        if name.startswith(gated):
            continue  # a layer of an attention, counted with it
        if isinstance(module, Attention):
            gated = (*gated, f"{name}.")
            total += _attention_parameters(module, ends[name, "out"], variant, shrink=shrink)
        elif isinstance(module, nn.Conv2d):
            incoming = 1 if module.groups > 1 else ends.get((name, "in"), module.in_channels)
            total += ends[name, "out"] * incoming * math.prod(module.kernel_size)
        elif isinstance(module, _BatchNorm):
            total += 2 * ends[name, "out"]
        elif isinstance(module, nn.Linear):
            total += (ends[name, "in"] + 1) * module.out_features
    return total


def _disagreeing(model: nn.Module) -> list[str]:
    """Layers whose attributes say another width than their tensors have."""
    named = list(model.named_modules())
    convolutions = [
        name
        for name, layer in named
        if isinstance(layer, nn.Conv2d)
        and layer.weight.shape[:2] != (layer.out_channels, layer.in_channels // layer.groups)
    ]
    linears = [
        name
        for name, layer in named
        if isinstance(layer, nn.Linear) and layer.weight.shape != (layer.out_features, layer.in_features)
    ]
    norms = [
        name
        for name, layer in named
        if isinstance(layer, _BatchNorm)
        and {len(layer.weight), len(layer.bias), len(layer.running_mean), len(layer.running_var)}
        != {layer.num_features}
    ]
    return convolutions + linears + norms


def _without_gradient(model: nn.Module, pictures: Tensor) -> list[str]:
    """Parameters that a step in training mode gives no gradient of their shape."""
    model.train()(pictures).square().sum().backward()
    return [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or parameter.grad.shape != parameter.shape
    ]


def _cut_and_check(
    network: str, variant: str, rule: BottleneckRule, ratio: float, scope: Scope, *, shape: Shape, width: float
) -> dict[str, float]:
    """One cell; returns what is worth knowing of it."""
    model = _network(network, variant, shape, width=width)
    started = time.perf_counter()
    pruned = prune_model(model, torch.randn(4, *shape), ratio=ratio, scope=scope, bottlenecks=rule)
    seconds = time.perf_counter() - started
    dense, model, plan = model, pruned.model, pruned.plan
    assert pruned.proof <= PROOF_TOLERANCE
    assert plan.skipped == {"classifier": "its channels are the network's output"}
    assert plan.channels_after == pytest.approx((1 - ratio) * plan.channels_before, rel=0.02)
    assert _disagreeing(model) == []
    cost = complexity(model, shape)
    assert cost.macs == plan.macs_after < plan.macs_before
    assert cost.params == _parameters(dense, ChannelGraph(dense, shape).groups, plan, variant, shrink=rule == "shrink")
    assert _without_gradient(model, torch.randn(4, *shape)) == []
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
    assert seconds < SECONDS
    assert peak < BYTES
    return {"proof": pruned.proof, "seconds": seconds, "peak": peak}


@pytest.mark.parametrize(("network", "variant", "rule", "ratio", "scope"), DIAGONAL)
def test_every_attention_is_cut_in_every_network(
    network: str, variant: str, rule: BottleneckRule, ratio: float, scope: Scope
) -> None:
    _cut_and_check(network, variant, rule, ratio, scope, shape=(3, 16, 16), width=SMALL[network])


@pytest.mark.slow
@pytest.mark.grid
@pytest.mark.parametrize(("network", "variant", "rule", "ratio", "scope"), GRID)
def test_every_attention_is_cut_at_full_width(
    network: str,
    variant: str,
    rule: BottleneckRule,
    ratio: float,
    scope: Scope,
    record_property: Callable[[str, object], None],
) -> None:
    for name, value in _cut_and_check(network, variant, rule, ratio, scope, shape=(3, 32, 32), width=1.0).items():
        record_property(name, value)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_trained_network_is_cut_saved_and_cut_again(variant: str, tmp_path: Path) -> None:
    overrides = ["model.width=0.5", "train.epochs=1", "runtime.device=cpu", *VARIANTS[variant]]
    recipe = load_recipe("quickstart", overrides=overrides)
    data = build_data(recipe.data, device=torch.device("cpu"))
    size = {"classes": len(data.classes), "input_shape": data.input_shape}
    model = build_model(recipe, **size)
    fit(model, data, recipe)
    pictures, _ = next(iter(data.val.ordered(batch_size=32)))
    first = prune_model(model, pictures, ratio=0.5)
    assert first.proof <= PROOF_TOLERANCE

    weights = tmp_path / "model.safetensors"
    weights.write_bytes(to_bytes(first.model))
    loaded = load_network(recipe, weights, **size)
    with torch.inference_mode():
        assert torch.equal(loaded.eval()(pictures), first.model.eval()(pictures))

    second = prune_model(loaded, pictures, ratio=0.5)
    assert second.proof <= PROOF_TOLERANCE
    assert second.plan.channels_before == first.plan.channels_after
    assert second.plan.macs_before == first.plan.macs_after
    assert complexity(second.model, data.input_shape).macs == second.plan.macs_after
