"""Small networks as after a training."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from namprune.attention import ATTENTIONS

INPUT = (3, 8, 8)


@torch.no_grad()
def _lived_in(model: nn.Module, input_shape: tuple[int, int, int] = INPUT) -> nn.Module:
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for norm in norms:
        norm.weight.uniform_(0.1, 2.0)
        norm.bias.normal_(std=0.5)
        norm.momentum = 1.0
    model.train()(torch.randn(8, *input_shape))  # true statistics, or deep networks deliver nothing
    return model.eval()


@pytest.fixture
def lived_in() -> Callable[..., nn.Module]:
    """Gives a network factors and statistics of its own, in eval mode."""
    return _lived_in


class _Tour(nn.Module):
    """Every attention, one behind the other, each after a convolution and a BatchNorm; a head of three classes."""

    def __init__(self) -> None:
        super().__init__()
        options = {"nam": {"part": "both"}}
        width = 8
        self.stem = nn.Sequential(nn.Conv2d(INPUT[0], width, 3, padding=1), nn.BatchNorm2d(width))
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
                    nn.BatchNorm2d(width),
                    attention(width, INPUT[1:], **options.get(name, {})),
                )
                for name, attention in ATTENTIONS.items()
            )
        )
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.stem(x))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


@pytest.fixture(scope="module")
def tour() -> nn.Module:
    """A network with every attention in it, for pictures of `INPUT`, in channels_last as after training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _lived_in(_Tour()).to(memory_format=torch.channels_last)


@pytest.fixture
def pixels() -> Tensor:
    """Five pictures of noise, uint8 (N, H, W, C)."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(256, (5, *INPUT[1:], INPUT[0]), generator=generator, dtype=torch.uint8)
