import pytest
import torch
import torchvision

from namprune.measure import complexity
from namprune.models import AttentionPlan
from namprune.models.mobilenetv2 import InvertedResidual, MobileNetV2

IMAGENET = {"input_shape": (3, 224, 224), "classes": 1000, "stem": "imagenet"}


@pytest.mark.parametrize("width", [0.35, 0.5, 0.75, 1.0, 1.4])
def test_tensors_are_torchvision_s_at_every_width(width) -> None:
    with torch.device("meta"):
        ours = MobileNetV2(width=width, **IMAGENET).state_dict()
        theirs = torchvision.models.MobileNetV2(width_mult=width).state_dict()
    assert [tensor.shape for tensor in ours.values()] == [tensor.shape for tensor in theirs.values()]


def test_logits_are_torchvision_s() -> None:
    theirs = torchvision.models.MobileNetV2(width_mult=0.5, num_classes=7).eval()
    ours = MobileNetV2(input_shape=(3, 70, 50), classes=7, width=0.5, stem="imagenet").eval()
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    x = torch.randn(2, 3, 70, 50)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x))


def test_published_imagenet_cost() -> None:
    cost = complexity(MobileNetV2(**IMAGENET), (3, 224, 224))
    assert cost.params == 3_504_872
    assert cost.macs == cost.macs_aten == 300_774_272


def test_block_by_hand() -> None:
    block = InvertedResidual(4, 6, 3, 2, (6, 5), AttentionPlan())
    cost = complexity(block, (4, 6, 5))
    expand, depthwise, project = 4 * 12, 12 * 9, 12 * 6
    assert cost.params == expand + depthwise + project + 2 * (12 + 12 + 6)
    assert cost.macs == expand * 6 * 5 + (depthwise + project) * 3 * 3


@pytest.mark.parametrize(
    ("channels", "stride", "residual"), [((8, 8), 1, True), ((8, 8), 2, False), ((8, 16), 1, False)]
)
def test_shortcut_only_where_shapes_allow(channels, stride, residual) -> None:
    block = InvertedResidual(*channels, 2, stride, (4, 4), AttentionPlan()).eval()
    torch.nn.init.zeros_(block.project[1].weight)  # the branch is silent
    x = torch.randn(1, 8, 4, 4)
    out = block(x)
    assert torch.equal(out, x) if residual else out.count_nonzero() == 0


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_attention_sites(sites, stem) -> None:
    """17 blocks (table 2 of the paper); the size inside a block is that after its depthwise stride."""
    sizes = {"cifar": [(32, 41), (16, 21), (8, 11), (4, 6)], "imagenet": [(8, 11), (4, 6), (2, 3), (1, 2)]}[stem]
    first = {"cifar": (32, 41), "imagenet": (16, 21)}[stem]
    block = [(16, first)]
    interior = [(32, first)]
    channels = 16
    stages = [(24, 2, 0), (32, 3, 1), (64, 4, 2), (96, 3, 2), (160, 3, 3), (320, 1, 3)]
    for out, depth, level in stages:
        for _ in range(depth):
            block.append((out, sizes[level]))
            interior.append((6 * channels, sizes[level]))
            channels = out
    shape = {"input_shape": (3, 32, 41), "stem": stem}
    assert sites(MobileNetV2, "block", **shape) == block
    assert sites(MobileNetV2, "interior", **shape) == interior
    assert sorted(sites(MobileNetV2, "both", **shape)) == sorted(block + interior)
