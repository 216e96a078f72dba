"""Where attention goes in networks that were not made for it: behind the last BatchNorm of each block.

In residual blocks that is before the addition, as NAM was published; in dense, plain and branching ones, where nothing
is added, it is the end of a transition, layer or branch.
"""

import re

from torch import nn

from namprune.errors import UserError

FAMILIES: dict[str, str] = {
    "torchvision.models.resnet.ResNet": r"layer\d\.\d+",  # ResNeXt and wide ones, too
    "torchvision.models.mobilenetv2.MobileNetV2": r"features\.\d+\.conv",
    "torchvision.models.mobilenetv3.MobileNetV3": r"features\.\d+\.block",
    "torchvision.models.efficientnet.EfficientNet": r"features\.\d+\.\d+\.block",
    "torchvision.models.mnasnet.MNASNet": r"layers\.\d+\.\d+",
    "torchvision.models.regnet.RegNet": r"trunk_output\.block\d\.block\d-\d+",
    "torchvision.models.shufflenetv2.ShuffleNetV2": r"stage\d\.\d+\.branch2",
    "torchvision.models.densenet.DenseNet": r"features\.(transition\d|norm5)",
    "torchvision.models.googlenet.GoogLeNet": r"inception\d\w\.branch\d",
    "torchvision.models.vgg.VGG": r"features\.\d+",
    "timm.models.resnet.ResNet": r"layer\d\.\d+",
    "timm.models.efficientnet.EfficientNet": r"blocks\.\d+\.\d+",  # MobileNetV2 and MNASNet, too
    "timm.models.mobilenetv3.MobileNetV3": r"blocks\.\d+\.\d+",
    "timm.models.regnet.RegNet": r"s\d\.b\d+",
}
"""By class: the names of the blocks."""

_SHORTCUT = re.compile(r".*\b(downsample|proj)\b.*")
"""What stands beside a block's branch: `proj` in RegNet."""

SHOWN = 4


def batchnorms(model: nn.Module) -> list[str]:
    """Names of the layers that attention may be put behind."""
    return [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]


def default_places(model: nn.Module) -> tuple[str, ...]:
    """The last BatchNorm of each block.

    Raises:
        UserError: the network is of a family that is not known here, or has no BatchNorm2d at all.
    """
    norms, kind = batchnorms(model), type(model)
    if not norms:
        raise UserError(
            f"{kind.__name__} has no BatchNorm2d that attention could go behind", hint="set attention.name to none"
        )
    bases = [f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__]
    if (pattern := next((FAMILIES[base] for base in bases if base in FAMILIES), None)) is None:
        raise UserError(
            f"where attention goes in a {kind.__name__} is not known; among its BatchNorms are {_some(norms)}",
            hint=f'name some with attention.at, for example ["{_generalized(norms[-1])}"], '
            "and attention.name in the place of --attention",
        )
    last = {}
    for norm in norms:
        if (block := re.match(rf"({pattern})(?=\.|$)", norm)) and not _SHORTCUT.match(norm, block.end()):
            last[block[0]] = norm
    return tuple(last.values())


def _some(names: list[str]) -> str:
    step = max(1, len(names) // SHOWN)
    return ", ".join(names[step - 1 :: step][:SHOWN])


def _generalized(name: str) -> str:
    """`layer4.1.bn2` as `layer*.*.bn2`."""
    head, _, tail = name.rpartition(".")
    return f"{re.sub(r'[0-9]+', '*', head)}.{tail}" if head else tail
