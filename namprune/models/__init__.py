"""Networks by name. Each takes its attention as a factory and knows none by name."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from namprune.attention import build_attention
from namprune.errors import UserError
from namprune.models.blocks import AttentionPlan
from namprune.models.mobilenetv2 import MobileNetV2
from namprune.models.resnet import BasicBlock, Bottleneck, cifar_resnet, imagenet_resnet
from namprune.recipe.schema import Recipe

__all__ = ["MODELS", "AttentionPlan", "build_model"]

MODELS: dict[str, Callable[..., nn.Module]] = {
    "mobilenetv2": MobileNetV2,
    "resnet20": partial(cifar_resnet, 20),
    "resnet32": partial(cifar_resnet, 32),
    "resnet56": partial(cifar_resnet, 56),
    "resnet110": partial(cifar_resnet, 110),
    "resnet18": partial(imagenet_resnet, BasicBlock, (2, 2, 2, 2)),
    "resnet34": partial(imagenet_resnet, BasicBlock, (3, 4, 6, 3)),
    "resnet50": partial(imagenet_resnet, Bottleneck, (3, 4, 6, 3)),
    "resnet101": partial(imagenet_resnet, Bottleneck, (3, 4, 23, 3)),
}


def build_model(recipe: Recipe, *, classes: int, input_shape: tuple[int, int, int]) -> nn.Module:
    """The dense network of a recipe on the CPU, its weights drawn from the recipe's seed.

    Raises:
        UserError: the attention's options do not fit the width of a layer.
    """
    section = recipe.model
    plan = AttentionPlan(build_attention(recipe.attention), getattr(recipe.attention, "placement", "block"))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)
        try:
            return MODELS[section.name](
                input_shape=input_shape, classes=classes, width=section.width, stem=section.stem, attention=plan
            )
        except ValueError as error:
            raise UserError(
                f"{section.name} of model.width {section.width:g} with attention {recipe.attention.name}: {error}",
                hint="change the attention's options or model.width",
            ) from error
