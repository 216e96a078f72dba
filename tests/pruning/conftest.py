"""Networks as after a training: every factor and statistic its own, the signal alive from end to end."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from namprune.attention import NAM
from namprune.attention.bam import BAM
from namprune.attention.cbam import CBAM
from namprune.attention.se import SE
from namprune.models import MODELS, AttentionPlan
from namprune.pruning import ChannelGroup
from namprune.pruning.group import Member

INPUT = (3, 8, 8)
WIDTHS = {"resnet18": 0.25, "resnet50": 0.25}
PLANS = {
    "none": AttentionPlan(),
    "channel": AttentionPlan(partial(NAM, part="channel"), "block"),
    "both": AttentionPlan(partial(NAM, part="both"), "both"),
    "se": AttentionPlan(partial(SE, reduction=2), "block"),
    "cbam": AttentionPlan(partial(CBAM, reduction=2), "block"),
    "bam": AttentionPlan(partial(BAM, reduction=2), "stage"),
}

NetworkFactory = Callable[..., nn.Module]
GroupFactory = Callable[..., ChannelGroup]


@torch.no_grad()
def _lived_in(model: nn.Module) -> nn.Module:
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        norm.weight.uniform_(0.1, 2.0)
        norm.bias.normal_(std=0.5)
        norm.momentum = 1.0
    model.train()(torch.randn(8, *INPUT))  # true statistics, or deep networks deliver nothing
    for norm in norms:
        norm.momentum = 0.1
    return model


@pytest.fixture
def make_network() -> NetworkFactory:
    """A named network for `INPUT` with ten classes; attention a key of `PLANS`, where `both` is parts and placements,
    or a plan."""

    def make(name: str, attention: str | AttentionPlan = "none", *, width: float | None = None) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = MODELS[name](
                input_shape=INPUT,
                classes=10,
                attention=PLANS[attention] if isinstance(attention, str) else attention,
                width=width or WIDTHS.get(name, 1.0),
            )
            return _lived_in(model)

    return make


@pytest.fixture
def make_group() -> GroupFactory:
    """Layers named by their position, each carrying all channels in order; `fed_by` is what feeds its NAM."""

    def make(*modules: nn.Module, size: int, root: str = "conv", fed_by: str | None = None) -> ChannelGroup:
        index = torch.arange(size)
        members = [
            Member(
                name=str(place),
                module=module,
                side="out" if isinstance(module, nn.Conv2d | nn.Linear) else "both",
                positions=index,
                channels=index,
                fed_by=fed_by if isinstance(module, NAM) else None,
            )
            for place, module in enumerate(modules)
        ]
        return ChannelGroup(root, size, tuple(members))

    return make
