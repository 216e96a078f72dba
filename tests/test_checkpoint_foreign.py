"""Networks that were made elsewhere come back from their files, whatever layers they have."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from namprune.checkpoint import load_network, narrow, to_bytes
from namprune.models import build_model
from namprune.pruning import prune_model
from namprune.recipe.schema import Recipe

CLASSES = 10


def _foreign(source: str, name: str, attention: str) -> Recipe:
    return Recipe.model_validate(
        {
            "data": {"name": "digits"},
            "model": {"source": source, "name": name},
            "attention": {"name": attention},
            "train": {"epochs": 1},
            "finetune": {"epochs": 1},
        }
    )


@pytest.mark.parametrize(
    ("source", "name", "attention"),
    [
        ("torchvision", "mobilenet_v3_small", "none"),
        ("torchvision", "resnet18", "nam"),
        ("torchvision", "regnet_y_400mf", "none"),  # whose grouped convolutions lose whole groups
        ("torchvision", "shufflenet_v2_x0_5", "none"),
        ("torchvision", "mnasnet0_5", "none"),  # takes no state dict without a version
        ("timm", "mobilenetv3_small_050", "nam"),  # a BatchNorm with an activation of its own
    ],
)
def test_networks_of_others_come_back_to_the_bit(source: str, name: str, attention: str, tmp_path: Path) -> None:
    recipe, weights, shape = _foreign(source, name, attention), tmp_path / "model.safetensors", (3, 64, 64)
    pictures = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    dense = build_model(recipe, classes=CLASSES, input_shape=shape)
    pruned = prune_model(dense, pictures, ratio=0.5, criterion="l1")
    assert pruned.plan.channels_after <= 0.55 * pruned.plan.channels_before
    weights.write_bytes(to_bytes(pruned.model))
    loaded = load_network(recipe, weights, classes=CLASSES, input_shape=shape)
    with torch.inference_mode():
        assert torch.equal(loaded.eval()(pictures), pruned.model.eval()(pictures))
    assert repr(loaded) == repr(pruned.model)


class _Layers(nn.Module):
    """What users put into networks, beside what is in the libraries' ones."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(3, width, 2, stride=2)
        self.act = nn.PReLU(width)
        self.norm = nn.BatchNorm2d(width, affine=False)
        self.grouped = nn.Conv2d(width, 2 * width, 3, groups=width // 4)
        self.last = nn.LayerNorm(2 * width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.grouped(self.norm(self.act(self.up(x)))).mean((2, 3)))
        return out


def test_every_layer_learns_its_width_from_its_tensors() -> None:
    wide, small = _Layers(16), _Layers(8)
    narrow(wide, {name: tuple(tensor.shape) for name, tensor in small.state_dict().items()})
    assert repr(wide) == repr(small)
    wide.load_state_dict(small.state_dict())
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(wide(x), small(x))
