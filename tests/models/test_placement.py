"""Where each placement puts attention in each network, and what it leaves out for it."""

import itertools
import typing
from collections.abc import Callable

import pytest
import torch
from torch import nn

from namprune.attention import ATTENTIONS
from namprune.choices import Placement, Stem
from namprune.errors import UserError
from namprune.measure import complexity
from namprune.models import MODELS, AttentionPlan, build_model
from namprune.models.mobilenetv2 import InvertedResidual
from namprune.models.resnet import BasicBlock, Bottleneck
from namprune.recipe import load_recipe

Site = tuple[int, tuple[int, int]]
Sites = Callable[..., list[Site]]

PLACEMENTS = typing.get_args(Placement)
COUNTS = {
    # block, interior, both, stage, replace; one interior site per basic and inverted block, two per bottleneck
    "mobilenetv2": (17, 17, 34, 3, 2),
    "resnet20": (9, 9, 18, 2, 2),
    "resnet32": (15, 15, 30, 2, 2),
    "resnet56": (27, 27, 54, 2, 2),
    "resnet110": (54, 54, 108, 2, 2),
    "resnet18": (8, 8, 16, 3, 2),
    "resnet34": (16, 16, 32, 3, 2),
    "resnet50": (16, 32, 48, 3, 2),
    "resnet101": (33, 66, 99, 3, 2),
}

# Before each downsampling: the stream as the earlier stage left it. Pictures of 37x50, so that halves are odd.
STAGE: dict[tuple[str, Stem], list[Site]] = {
    ("mobilenetv2", "cifar"): [(24, (37, 50)), (32, (19, 25)), (96, (10, 13))],
    ("mobilenetv2", "imagenet"): [(16, (19, 25)), (24, (10, 13)), (32, (5, 7)), (96, (3, 4))],
    ("resnet20", "cifar"): [(16, (37, 50)), (32, (19, 25))],
    ("resnet20", "imagenet"): [(16, (10, 13)), (32, (5, 7))],
    ("resnet18", "cifar"): [(64, (37, 50)), (128, (19, 25)), (256, (10, 13))],
    ("resnet18", "imagenet"): [(64, (10, 13)), (128, (5, 7)), (256, (3, 4))],
    ("resnet50", "cifar"): [(256, (37, 50)), (512, (19, 25)), (1024, (10, 13))],
    ("resnet50", "imagenet"): [(256, (10, 13)), (512, (5, 7)), (1024, (3, 4))],
}
# In the place of the last block of the two last stages; in MobileNetV2 of those with 96 and 160 channels.
REPLACE: dict[tuple[str, Stem], list[Site]] = {
    ("mobilenetv2", "cifar"): [(96, (10, 13)), (160, (5, 7))],
    ("mobilenetv2", "imagenet"): [(96, (3, 4)), (160, (2, 2))],
    ("resnet20", "cifar"): [(32, (19, 25)), (64, (10, 13))],
    ("resnet20", "imagenet"): [(32, (5, 7)), (64, (3, 4))],
    ("resnet18", "cifar"): [(256, (10, 13)), (512, (5, 7))],
    ("resnet18", "imagenet"): [(256, (3, 4)), (512, (2, 2))],
    ("resnet50", "cifar"): [(1024, (10, 13)), (2048, (5, 7))],
    ("resnet50", "imagenet"): [(1024, (3, 4)), (2048, (2, 2))],
}
NETWORKS = ("mobilenetv2", "resnet20", "resnet18", "resnet50")


@pytest.mark.parametrize("name", MODELS)
def test_number_of_sites(sites: Sites, name: str) -> None:
    found = tuple(len(sites(MODELS[name], placement, input_shape=(3, 32, 32))) for placement in PLACEMENTS)
    assert found == COUNTS[name]


@pytest.mark.parametrize(("name", "stem"), STAGE)
def test_stage_sites(sites: Sites, name: str, stem: Stem) -> None:
    assert sites(MODELS[name], "stage", input_shape=(3, 37, 50), stem=stem) == STAGE[name, stem]


@pytest.mark.parametrize(("name", "stem"), REPLACE)
def test_replace_sites(sites: Sites, name: str, stem: Stem) -> None:
    assert sites(MODELS[name], "replace", input_shape=(3, 37, 50), stem=stem) == REPLACE[name, stem]


class _Probe(nn.Module):
    """Stands in the network and compares what arrives with what was announced."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.site, self.arrived = (channels, *size), (0, 0, 0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.arrived = tuple(x.shape[1:])
        return x


@pytest.mark.parametrize(
    ("name", "placement", "stem"), [*itertools.product(NETWORKS, ("stage", "replace"), ("cifar", "imagenet"))]
)
def test_what_arrives_is_what_was_announced(name: str, placement: Placement, stem: Stem) -> None:
    with torch.device("meta"):
        plan = AttentionPlan(_Probe, placement)
        model = MODELS[name](input_shape=(3, 37, 50), classes=10, stem=stem, attention=plan)
        model(torch.empty(2, 3, 37, 50))
    probes = [module for module in model.modules() if isinstance(module, _Probe)]
    assert [probe.arrived for probe in probes] == [probe.site for probe in probes]


def _blocks(name: str, plan: AttentionPlan | None = None) -> list[nn.Module]:
    with torch.device("meta"):
        model = MODELS[name](input_shape=(3, 32, 32), classes=10, attention=plan)
    return [m for m in model.modules() if isinstance(m, InvertedResidual | BasicBlock | Bottleneck)]


def _keeps_the_stream(block: nn.Module) -> bool:
    """Whether a block's shortcut is the identity: stride 1, as many channels out as in."""
    return bool(block.residual) if isinstance(block, InvertedResidual) else isinstance(block.shortcut, nn.Identity)


@pytest.mark.parametrize("name", NETWORKS)
def test_replace_takes_out_two_blocks_that_keep_the_stream(name: str) -> None:
    dense, rest = _blocks(name), _blocks(name, AttentionPlan(_Probe, "replace"))
    assert len(rest) == len(dense) - 2
    assert sum(map(_keeps_the_stream, rest)) == sum(map(_keeps_the_stream, dense)) - 2


# ULSAM's published MobileNetV2s (https://arxiv.org/abs/2006.15102): channels of the blocks replaced, parameters and
# MACs in millions as printed. All agree with a dense network of 3.4 M and 300 M, to which the real one was rounded.
PUBLISHED = [
    ((96,), 3.28, 277.34),
    ((160,), 3.08, 284.54),
    ((96, 64), 3.23, 267.06),
    ((160, 160), 2.77, 269.08),
    ((96, 160), 2.97, 261.88),  # the headline, also printed as 2.96
    ((96, 96, 160, 160), 2.54, 223.77),
]
SIDE = {64: 14, 96: 14, 160: 7}
"""Of the feature map in the stage of so many channels, on 224x224 pictures."""


def _block_cost(channels: int) -> tuple[int, int, int]:
    """Parameters without those of BatchNorm, which the paper leaves out; those of BatchNorm; MACs."""
    side = SIDE[channels]
    block = InvertedResidual(channels, channels, 6, 1, (side, side), AttentionPlan())
    cost = complexity(block, (channels, side, side))
    norms = sum(p.numel() for m in block.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters())
    return cost.params - norms, norms, cost.macs


@pytest.mark.parametrize(("replaced", "params", "macs"), PUBLISHED)
def test_published_ulsam_networks_replace_these_blocks(replaced: tuple[int, ...], params: float, macs: float) -> None:
    """The paper's module has two parameters per channel and two multiply-accumulates per element."""
    costs = [_block_cost(channels) for channels in replaced]
    left_params = 3.4e6 - sum(cost[0] for cost in costs) + sum(2 * channels for channels in replaced)
    left_macs = (
        300e6 - sum(cost[2] for cost in costs) + sum(2 * channels * SIDE[channels] ** 2 for channels in replaced)
    )
    assert left_params / 1e6 == pytest.approx(params, abs=0.005)
    assert left_macs / 1e6 == pytest.approx(macs, abs=0.01)


def test_cost_of_ulsam_s_headline_network() -> None:
    """Exact by hand, and no further from the published saving than the module's own cost and BatchNorm's."""
    overrides = ["model.name=mobilenetv2", "model.stem=imagenet", "attention.name=ulsam"]
    recipe = load_recipe("resnet20", overrides=overrides)
    cost = complexity(build_model(recipe, classes=1000, input_shape=(3, 224, 224)), (3, 224, 224))
    (small, small_norms, small_macs), (large, large_norms, large_macs) = _block_cost(96), _block_cost(160)
    assert (small, small_macs) == (115_776, 22_692_096)
    assert (large, large_macs) == (315_840, 15_476_160)
    modules = 5 * (96 + 160) + 2 * 3 * 4  # per channel: depthwise w, b, γ, β, pointwise w; per subspace: b, γ, β
    assert cost.params == 3_504_872 - (small + small_norms + large + large_norms) + modules == 3_067_904
    assert cost.macs == 300_774_272 - (small_macs + large_macs) + 3 * (96 * 14 * 14 + 160 * 7 * 7) == 262_685_984
    assert (3_504_872 - cost.params) / 1e6 == pytest.approx(3.4 - 2.965, abs=0.01)
    assert (300_774_272 - cost.macs) / 1e6 == pytest.approx(300 - 261.88, abs=0.04)


ELSEWHERE: dict[str, Placement] = {"bam": "stage", "ulsam": "replace"}
"""Published placements other than at the end of each block."""


@pytest.mark.parametrize(("name", "attention"), [*itertools.product(NETWORKS, ATTENTIONS)])
def test_a_recipe_s_attention_is_at_its_own_place(name: str, attention: str) -> None:
    overrides = [f"model.name={name}", "model.width=0.25", f"attention.name={attention}"]
    model = build_model(load_recipe("resnet20", overrides=overrides), classes=10, input_shape=(3, 16, 12)).eval()
    gates = [module for module in model.modules() if type(module) is ATTENTIONS[attention]]
    assert len(gates) == COUNTS[name][PLACEMENTS.index(ELSEWHERE.get(attention, "block"))]
    with torch.inference_mode():
        logits = model(torch.randn(1, 3, 16, 12))
    assert logits.shape == (1, 10)
    assert logits.isfinite().all()


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["attention.name=sa", "attention.groups=64"], "64 groups of two halves do not divide 16 channels"),
        (["attention.name=ulsam", "attention.groups=5"], "5 subspaces do not divide 32 channels"),
    ],
)
def test_groups_that_do_not_fit_are_the_user_s_fault(options: list[str], fault: str) -> None:
    recipe = load_recipe("resnet20", overrides=options)
    with pytest.raises(UserError) as caught:
        build_model(recipe, classes=10, input_shape=(3, 32, 32))
    message = caught.value.message
    assert message.startswith(f"resnet20 of model.width 1 with attention {options[0][15:]}: attention.groups: {fault}")
    assert "\n" not in message
    assert caught.value.hint
