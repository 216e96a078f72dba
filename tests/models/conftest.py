"""What a network asks of its attention factory, written down."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from namprune.choices import Placement
from namprune.models import AttentionPlan

Site = tuple[int, tuple[int, int]]


@pytest.fixture
def sites() -> Callable[..., list[Site]]:
    """(channels, (height, width)) of each attention that a constructor places, in order."""

    def record(build: Callable[..., nn.Module], placement: Placement, **options) -> list[Site]:
        placed: list[Site] = []

        def factory(channels: int, size: tuple[int, int]) -> nn.Module:
            placed.append((channels, size))
            return nn.Identity()

        with torch.device("meta"):
            build(attention=AttentionPlan(factory, placement), classes=10, **options)
        return placed

    return record
