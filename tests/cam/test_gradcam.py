import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from namprune.attention import build_attention
from namprune.cam import correlation, grad_cam
from namprune.errors import UserError
from namprune.models import MODELS, AttentionPlan
from namprune.recipe.attention import BAMSection, NAMSection, ULSAMSection


def network(name: str, attention, side: int) -> nn.Module:
    plan = AttentionPlan(build_attention(attention), attention.placement)
    torch.manual_seed(0)
    model = MODELS[name](input_shape=(3, side, side), classes=5, width=0.25, attention=plan).eval()
    nn.init.uniform_(model.classifier.weight, -0.5, 1)  # of both signs, but not so that nothing speaks for a class
    return model


def shown(coarse: Tensor, side: int) -> Tensor:
    fine = F.interpolate(coarse.detach()[None, None], (side, side), mode="bilinear", align_corners=False)[0, 0]
    assert fine.max() > 0
    return fine / fine.max()


@pytest.mark.parametrize(
    ("name", "attention"),
    [
        *((name, NAMSection(name="nam")) for name in MODELS),
        *((name, NAMSection(name="nam", placement="both")) for name in ("resnet20", "resnet50", "mobilenetv2")),
        *((name, ULSAMSection(name="ulsam", groups=2)) for name in ("resnet20", "resnet50", "mobilenetv2")),
        *((name, BAMSection(name="bam")) for name in ("resnet18", "mobilenetv2")),
    ],
)
def test_before_pooling_and_a_linear_layer_it_is_their_weights_map(name, attention) -> None:
    # Zhou et al. 2016, https://arxiv.org/abs/1512.04150: there the mean gradient is the classifier's weight / (h w)
    model, x = network(name, attention, 32), torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        stream = model.stem(x)
        features = model.head(model.blocks(stream)) if name == "mobilenetv2" else model.stages(stream)
    for target in (1, 4):
        coarse = torch.einsum("k,khw->hw", model.classifier.weight[target], features[0]).relu()
        torch.testing.assert_close(grad_cam(model, x, target=target), shown(coarse, 32), atol=1e-5, rtol=0)


def test_where_the_picture_shrinks_to_a_pixel_the_stage_before_is_taken() -> None:
    model, x = network("mobilenetv2", NAMSection(name="nam"), 8), torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        sizes = []
        features = model.stem(x)
        for block in model.blocks:
            features = block(features)
            sizes.append(features.shape[2:].numel())
        last = max(i for i, size in enumerate(sizes) if size > 1) + 1
        assert last < len(sizes)
        features = model.blocks[:last](model.stem(x))
    features.requires_grad_()
    logits = model.classifier(model.head(model.blocks[last:](features)).mean((2, 3)))
    (gradient,) = torch.autograd.grad(logits[0, 2], features)
    coarse = (gradient.mean((2, 3), keepdim=True) * features).sum(1)[0].relu()
    torch.testing.assert_close(grad_cam(model, x, target=2), shown(coarse, 8), atol=1e-5, rtol=0)


class Brightness(nn.Module):
    """Class 0 is what is bright, class 1 the contrary."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, bias=False), nn.ReLU(), nn.Dropout(0.5))
        self.classifier = nn.Linear(1, 2, bias=False)
        nn.init.constant_(self.features[0].weight, 1 / 9)
        self.classifier.weight.data = torch.tensor([[1.0], [-1.0]])

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x).mean((2, 3)))
        return logits


def test_the_focus_lies_on_the_bright_square() -> None:
    x = torch.zeros(1, 1, 16, 16)
    x[..., 2:7, 9:14] = 1
    heat = grad_cam(Brightness(), x, target=0)
    inside = torch.zeros(16, 16, dtype=torch.bool)
    inside[1:8, 8:15] = True  # the filter reaches one pixel further
    assert heat[3:6, 10:13].min() == 1
    assert heat[~inside].max() == 0
    assert torch.equal(grad_cam(Brightness(), x, target=1), torch.zeros(16, 16))  # nothing speaks for it


def test_the_network_is_left_as_it_was() -> None:
    model = network("resnet20", NAMSection(name="nam"), 32).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    grad_cam(model, torch.randn(1, 3, 32, 32), target=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(module.training and not module._forward_hooks for module in model.modules())  # noqa: SLF001


def test_correlation_is_pearsons_and_none_of_a_flat_map() -> None:
    first, second = torch.rand(8, 8), torch.rand(8, 8)
    assert correlation(first, second) == pytest.approx(np.corrcoef(first.flatten(), second.flatten())[0, 1], abs=1e-6)
    assert correlation(first, 1 - first) == pytest.approx(-1)
    assert correlation(first, torch.zeros(8, 8)) is None
    assert correlation(torch.full((8, 8), 1 / 3), first) is None


def test_a_network_that_hides_its_feature_maps_is_refused() -> None:
    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Brightness()

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.inner(x)
            return logits

    with pytest.raises(UserError, match="Wrapper: none of its parts gives a feature map"):
        grad_cam(Wrapper(), torch.zeros(1, 1, 16, 16), target=0)
