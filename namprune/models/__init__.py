"""Networks: our own by name, each of which takes its attention as a factory, and those that were made elsewhere."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from namprune import console
from namprune.attention import AttentionFactory, build_attention
from namprune.errors import UserError
from namprune.models.blocks import AttentionPlan
from namprune.models.families import default_places
from namprune.models.mobilenetv2 import MobileNetV2
from namprune.models.resnet import BasicBlock, Bottleneck, cifar_resnet, imagenet_resnet
from namprune.models.sources import foreign_network
from namprune.models.surgery import insert_attention
from namprune.models.weights import load_weights
from namprune.recipe.model import NamedModel
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


def build_model(
    recipe: Recipe, *, classes: int, input_shape: tuple[int, int, int], pretrained: bool = False
) -> nn.Module:
    """The dense network of a recipe on the CPU, its weights drawn from the recipe's seed.

    With `pretrained` those of `model.weights` are loaded, if the recipe names any; where the network is trained, for
    other classes too.

    Raises:
        UserError: the network or its weights cannot be had, do not fit each other or the pictures, or the attention's
            options do not fit a layer.
    """
    factory = build_attention(recipe.attention)
    with console.status(f"building {recipe.model.stem_name}"), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)
        try:
            if isinstance(recipe.model, NamedModel):
                return _own(recipe, recipe.model, factory, classes=classes, input_shape=input_shape)
            model = foreign_network(recipe.model, classes=classes, input_shape=input_shape)
            if pretrained:
                load_weights(model, recipe.model, new_head=recipe.train.epochs > 0)
            if factory is not None:
                places = getattr(recipe.attention, "at", ()) or default_places(model)
                insert_attention(model, factory, places, input_shape)
        except ValueError as error:
            raise UserError(
                f"{_named(recipe)} with attention {recipe.attention.name}: {error}",
                hint="change the attention's options or the network's width",
            ) from error
    return model


def _own(
    recipe: Recipe,
    section: NamedModel,
    factory: AttentionFactory | None,
    *,
    classes: int,
    input_shape: tuple[int, int, int],
) -> nn.Module:
    plan = AttentionPlan(factory, getattr(recipe.attention, "placement", "block"))
    return MODELS[section.name](
        input_shape=input_shape, classes=classes, width=section.width, stem=section.stem, attention=plan
    )


def _named(recipe: Recipe) -> str:
    section = recipe.model
    return f"{section.name} of model.width {section.width:g}" if isinstance(section, NamedModel) else section.label
