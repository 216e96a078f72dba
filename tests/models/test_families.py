"""Where attention goes in the networks of torchvision and timm, against a count of their blocks by hand."""

import functools

import pytest
import timm
import torch
import torchvision
from torch import nn
from torchvision.models import resnet

from namprune.errors import UserError
from namprune.models.families import FAMILIES, batchnorms, default_places

# Blocks as in the papers' tables, and what the last BatchNorm of the first and of the last one is called.
TORCHVISION = {
    "resnet18": (8, "layer1.0.bn2", "layer4.1.bn2"),
    "resnet50": (16, "layer1.0.bn3", "layer4.2.bn3"),
    "resnext50_32x4d": (16, "layer1.0.bn3", "layer4.2.bn3"),
    "wide_resnet50_2": (16, "layer1.0.bn3", "layer4.2.bn3"),
    "mobilenet_v2": (17, "features.1.conv.2", "features.17.conv.3"),
    "mobilenet_v3_small": (11, "features.1.block.2.1", "features.11.block.3.1"),
    "mobilenet_v3_large": (15, "features.1.block.1.1", "features.15.block.3.1"),
    "efficientnet_b0": (16, "features.1.0.block.2.1", "features.7.0.block.3.1"),
    "efficientnet_v2_s": (40, "features.1.0.block.0.1", "features.6.14.block.3.1"),
    "mnasnet1_0": (16, "layers.8.0.layers.7", "layers.13.0.layers.7"),
    "regnet_y_400mf": (16, "trunk_output.block1.block1-0.f.c.1", "trunk_output.block4.block4-5.f.c.1"),
    "regnet_x_400mf": (22, "trunk_output.block1.block1-0.f.c.1", "trunk_output.block4.block4-11.f.c.1"),
    "shufflenet_v2_x1_0": (16, "stage2.0.branch2.6", "stage4.3.branch2.6"),
    "densenet121": (4, "features.transition1.norm", "features.norm5"),
    "googlenet": (9 * 4, "inception3a.branch1.bn", "inception5b.branch4.1.bn"),
    "vgg16_bn": (13, "features.1", "features.41"),
}
TIMM = {
    "resnet18": (8, "layer1.0.bn2", "layer4.1.bn2"),
    "resnet50d": (16, "layer1.0.bn3", "layer4.2.bn3"),
    "seresnet50": (16, "layer1.0.bn3", "layer4.2.bn3"),
    "efficientnet_lite0": (16, "blocks.0.0.bn2", "blocks.6.0.bn3"),
    "mobilenetv2_100": (17, "blocks.0.0.bn2", "blocks.6.0.bn3"),
    "mobilenetv3_small_100": (12, "blocks.0.0.bn2", "blocks.5.0.bn1"),  # a convolution of its own counts as a block
    "mnasnet_100": (17, "blocks.0.0.bn2", "blocks.6.0.bn3"),  # with the separable one that the paper does not count
    "regnety_002": (13, "s1.b1.conv3.bn", "s4.b7.conv3.bn"),
}


@functools.cache
def of_torchvision(name: str) -> nn.Module:
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    with torch.device("cpu" if name.startswith("regnet") else "meta"):  # RegNet computes its widths with tensors
        model: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    return model


@functools.cache
def of_timm(name: str) -> nn.Module:
    with torch.device("meta"):
        model: nn.Module = timm.create_model(name)
    return model


def test_every_family_is_looked_at() -> None:
    networks = [*map(of_torchvision, TORCHVISION), *map(of_timm, TIMM)]
    assert {f"{type(model).__module__}.{type(model).__qualname__}" for model in networks} == FAMILIES.keys()


@pytest.mark.parametrize("name", TORCHVISION)
def test_places_in_torchvision(name) -> None:
    places = default_places(of_torchvision(name))
    assert (len(places), places[0], places[-1]) == TORCHVISION[name]


@pytest.mark.parametrize("name", TIMM)
def test_places_in_timm(name) -> None:
    places = default_places(of_timm(name))
    assert (len(places), places[0], places[-1]) == TIMM[name]


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "regnet_x_400mf"])
def test_in_residual_blocks_it_is_the_last_batchnorm_before_the_sum(name) -> None:
    """Of the outputs that the forward pass adds, those that are not a shortcut's."""
    model = torchvision.models.get_model(name)
    given: dict[int, str] = {}
    for norm in batchnorms(model):
        model.get_submodule(norm).register_forward_hook(
            lambda _layer, _inputs, output, norm=norm: given.__setitem__(id(output), norm) or kept.append(output)
        )
    kept: list[torch.Tensor] = []
    added: list[str] = []

    class Sums(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func in (torch.Tensor.add, torch.Tensor.__iadd__, torch.Tensor.add_, torch.Tensor.__add__):
                added.extend(given[id(arg)] for arg in args if id(arg) in given)
            return func(*args, **(kwargs or {}))

    with Sums(), torch.no_grad():
        model.eval()(torch.zeros(1, 3, 32, 32))
    assert {norm for norm in added if "downsample" not in norm and "proj" not in norm} == {*default_places(model)}


class _Mine(resnet.ResNet):
    pass


def test_a_subclass_is_of_the_family() -> None:
    with torch.device("meta"):
        assert len(default_places(_Mine(resnet.BasicBlock, [1, 1, 1, 1]))) == 4


def test_an_unknown_family_lists_batchnorms_and_an_example() -> None:
    model = nn.Sequential(*(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)) for _ in range(9)))
    with pytest.raises(UserError, match=r"in a Sequential is not known; .* 1\.1, 3\.1, 5\.1, 7\.1$") as caught:
        default_places(model)
    assert str(caught.value.hint).startswith('name some with attention.at, for example ["*.1"], ')


@pytest.mark.parametrize("name", ["squeezenet1_1", "convnext_tiny", "vgg11"])
def test_a_network_without_batchnorms_has_no_place(name) -> None:
    with pytest.raises(UserError, match="has no BatchNorm2d"):
        default_places(of_torchvision(name))
