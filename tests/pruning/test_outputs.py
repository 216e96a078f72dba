"""Networks that return more than one tensor: backbones of detectors and segmentation networks."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.models.segmentation import lraspp_mobilenet_v3_large

from namprune.errors import PruneError
from namprune.measure import complexity
from namprune.pruning import ChannelGraph, prune_model
from namprune.pruning.apply import PROOF_TOLERANCE

OUTPUT = "its channels are the network's output"


class Pyramid(nn.Module):
    """Features that are returned and read on, in the containers of a key of `KINDS`."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, after, 3, stride=2, padding=1))
            for before, after in ((3, 6), (6, 10), (10, 4))
        )

    def forward(self, x: Tensor) -> object:
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
            x = nn.functional.relu(x, inplace=False)
        return KINDS[self.kind](*features)


KINDS = {
    "dict": lambda a, b, c: {"a": a, "b": b, "c": c},
    "tuple": lambda *features: features,
    "list": lambda *features: [*features],
    "nested": lambda a, b, c: {"all": [a, (b, {"c": c})], "size": 3, "none": None},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_tensor_that_is_returned_keeps_its_channels(kind: str) -> None:
    torch.manual_seed(0)
    model = Pyramid(kind)
    pruned = prune_model(model, torch.randn(2, 3, 16, 16), ratio=0.5, criterion="l1", scope="local")
    assert pruned.proof <= PROOF_TOLERANCE
    assert pruned.plan.skipped == dict.fromkeys(("stages.0.2", "stages.1.2", "stages.2.2"), OUTPUT)
    assert [stage[0].out_channels for stage in pruned.model.stages] == [4, 4, 4]
    assert [stage[2].out_channels for stage in pruned.model.stages] == [6, 10, 4]
    assert complexity(pruned.model, (3, 16, 16)).macs == pruned.plan.macs_after


class _Box:
    def __init__(self, inside: Tensor) -> None:
        self.inside = inside


class Boxed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 1)

    def forward(self, x: Tensor) -> _Box:
        return _Box(self.conv(x))


def test_an_output_that_cannot_be_looked_into_is_refused() -> None:
    with pytest.raises(PruneError, match="returns _Box, and no tensors in it"):
        ChannelGraph(Boxed(), (3, 4, 4))


def test_the_backbone_of_a_detector_is_cut_and_put_back() -> None:
    torch.manual_seed(0)
    detector = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
    pruned = prune_model(detector.backbone, torch.randn(1, 3, 96, 96), ratio=0.5, criterion="l1")
    assert pruned.proof <= PROOF_TOLERANCE
    assert set(pruned.plan.skipped.values()) == {OUTPUT}
    assert len(pruned.plan.skipped) == 6  # maps that the heads read
    assert pruned.plan.macs_after < 0.5 * pruned.plan.macs_before
    detector.backbone = pruned.model
    pictures = [torch.rand(3, 80, 120), torch.rand(3, 64, 64)]
    found = detector.eval()(pictures)
    assert [set(one) for one in found] == [{"boxes", "labels", "scores"}] * 2
    truth = [{"boxes": torch.tensor([[5.0, 5.0, 40.0, 50.0]]), "labels": torch.tensor([1])}] * 2
    sum(detector.train()(pictures, truth).values()).backward()
    assert all(one.grad is not None for one in detector.backbone.parameters())


def test_a_segmentation_network_is_cut_whole_and_by_its_backbone() -> None:
    torch.manual_seed(0)
    pictures = torch.randn(2, 3, 64, 64)
    model = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=4)
    whole = prune_model(model, pictures, ratio=0.5, criterion="l1")
    assert whole.proof <= PROOF_TOLERANCE
    assert whole.model.train()(pictures)["out"].shape == whole.model.eval()(pictures)["out"].shape == (2, 4, 64, 64)
    backbone = prune_model(model.backbone, pictures, ratio=0.5, criterion="l1")
    assert backbone.proof <= PROOF_TOLERANCE
    assert backbone.plan.macs_after < 0.5 * backbone.plan.macs_before
    model.backbone = backbone.model
    model.train()(pictures)["out"].sum().backward()
    assert model.eval()(pictures)["out"].shape == (2, 4, 64, 64)
