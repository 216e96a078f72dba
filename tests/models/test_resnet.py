import pytest
import torch
import torchvision

from namprune.measure import complexity
from namprune.models import MODELS, AttentionPlan
from namprune.models.resnet import BasicBlock, Bottleneck

RENAMED = (("stem.0.", "conv1."), ("stem.1.", "bn1."), ("shortcut.", "downsample."), ("classifier.", "fc."))


def their_name(name: str) -> str:
    """torchvision's name of one of our tensors."""
    for ours, theirs in RENAMED:
        name = name.replace(ours, theirs)
    if name.startswith("stages."):
        _, stage, rest = name.split(".", 2)
        name = f"layer{int(stage) + 1}.{rest}"
    return name


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101"])
def test_tensors_are_torchvision_s(name) -> None:
    with torch.device("meta"):
        ours = MODELS[name](input_shape=(3, 224, 224), classes=1000, stem="imagenet").state_dict()
        theirs = torchvision.models.get_model(name).state_dict()
    assert {their_name(key): value.shape for key, value in ours.items()} == {k: v.shape for k, v in theirs.items()}


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_logits_are_torchvision_s(name) -> None:
    theirs = torchvision.models.get_model(name, num_classes=7).eval()
    ours = MODELS[name](input_shape=(3, 70, 50), classes=7, stem="imagenet").eval()
    weights = theirs.state_dict()
    ours.load_state_dict({key: weights[their_name(key)] for key in ours.state_dict()})
    x = torch.randn(2, 3, 70, 50)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs(x))


def test_basic_block_by_hand() -> None:
    block = BasicBlock(4, 8, 2, (6, 5), AttentionPlan())
    weights = 8 * 4 * 9 + 8 * 8 * 9 + 8 * 4  # two 3x3 convolutions and the projection
    cost = complexity(block, (4, 6, 5))
    assert cost.params == weights + 3 * 2 * 8
    assert cost.macs == weights * 3 * 3


def test_bottleneck_by_hand() -> None:
    block = Bottleneck(8, 4, 2, (6, 5), AttentionPlan())
    cost = complexity(block, (8, 6, 5))
    before, after = 4 * 8, 4 * 4 * 9 + 16 * 4 + 16 * 8  # the stride is on the 3x3 convolution
    assert cost.params == before + after + 2 * (4 + 4 + 16 + 16)
    assert cost.macs == before * 6 * 5 + after * 3 * 3


@pytest.mark.parametrize(("placement", "times"), [("block", 1), ("interior", 1), ("both", 2)])
def test_attention_of_basic_blocks(sites, placement, times) -> None:
    placed = sites(MODELS["resnet20"], placement, input_shape=(3, 32, 41))
    stages = [(16, (32, 41)), (32, (16, 21)), (64, (8, 11))]
    assert placed == [site for site in stages for _ in range(3 * times)]


def test_attention_of_bottlenecks(sites) -> None:
    sizes = [(18, 29), (9, 15), (5, 8), (3, 4)]  # the imagenet stem makes 18x29 of 70x113
    stages = list(zip((64, 128, 256, 512), (3, 4, 6, 3), sizes, [sizes[0], *sizes], strict=False))
    block = [(4 * width, size) for width, depth, size, _ in stages for _ in range(depth)]
    interior = [
        site
        for width, depth, size, entry in stages
        for position in range(depth)
        for site in [(width, size if position else entry), (width, size)]
    ]
    shape = {"input_shape": (3, 70, 113), "stem": "imagenet"}
    assert sites(MODELS["resnet50"], "block", **shape) == block
    assert sites(MODELS["resnet50"], "interior", **shape) == interior
    assert sorted(sites(MODELS["resnet50"], "both", **shape)) == sorted(block + interior)


@pytest.mark.parametrize(
    ("name", "widths"),
    [("resnet56", (16, 32, 64)), ("resnet34", (64, 128, 256, 512)), ("resnet50", (64, 128, 256, 512))],
)
def test_width_scales_every_stage(name, widths) -> None:
    with torch.device("meta"):
        model = MODELS[name](input_shape=(3, 32, 32), classes=10, width=0.5)
    inner = [stage[-1].conv1.weight.shape[0] for stage in model.stages]
    assert inner == [width // 2 for width in widths]
    assert model.stem[0].weight.shape[0] == widths[0] // 2
