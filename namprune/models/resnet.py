"""Residual networks (He et al., 2015), https://arxiv.org/abs/1512.03385.

ResNet-20/32/56/110 are the paper's CIFAR networks (section 4.2: three stages of 16, 32, 64 channels) with
projection shortcuts (option B) instead of the padded ones, because a padded shortcut cannot be pruned freely.
ResNet-18/34/50/101 are its ImageNet networks; the `cifar` stem is the 3x3 stride-1 convolution without pooling
that the field uses on 32x32 pictures. The stride of a bottleneck is on its 3x3 convolution (as in torchvision).
"""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from namprune.choices import Stem
from namprune.models.blocks import AttentionPlan, Size, initialise, scaled_width, strided


def _conv_bn(in_channels: int, channels: int, kernel: int, *, stride: int = 1) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    conv = nn.Conv2d(in_channels, channels, kernel, stride=stride, padding=kernel // 2, bias=False)
    return conv, nn.BatchNorm2d(channels)


class _Residual(nn.Module):
    """What both kinds of block share: the shortcut, and the gate on the branch before the addition."""

    expansion: ClassVar[int]

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        changed = stride != 1 or in_channels != out_channels
        self.shortcut = (
            nn.Sequential(*_conv_bn(in_channels, out_channels, 1, stride=stride)) if changed else nn.Identity()
        )
        self.relu = nn.ReLU()

    def branch(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H', W')."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H', W')."""
        out: Tensor = self.relu(self.branch(x) + self.shortcut(x))
        return out


class BasicBlock(_Residual):
    """Two 3x3 convolutions."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, size: Size, attention: AttentionPlan) -> None:
        super().__init__(in_channels, width, stride)
        size = strided(size, stride)
        self.conv1, self.bn1 = _conv_bn(in_channels, width, 3, stride=stride)
        self.interior1 = attention.at("interior", width, size)
        self.conv2, self.bn2 = _conv_bn(width, width, 3)
        self.attention = attention.at("block", width, size)

    def branch(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H', W')."""
        x = self.relu(self.interior1(self.bn1(self.conv1(x))))
        out: Tensor = self.attention(self.bn2(self.conv2(x)))
        return out


class Bottleneck(_Residual):
    """1x1, 3x3 and 1x1 convolutions; the outer width is four times the inner."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, size: Size, attention: AttentionPlan) -> None:
        out_channels = width * self.expansion
        super().__init__(in_channels, out_channels, stride)
        out_size = strided(size, stride)
        self.conv1, self.bn1 = _conv_bn(in_channels, width, 1)
        self.interior1 = attention.at("interior", width, size)
        self.conv2, self.bn2 = _conv_bn(width, width, 3, stride=stride)
        self.interior2 = attention.at("interior", width, out_size)
        self.conv3, self.bn3 = _conv_bn(width, out_channels, 1)
        self.attention = attention.at("block", out_channels, out_size)

    def branch(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H', W')."""
        x = self.relu(self.interior1(self.bn1(self.conv1(x))))
        x = self.relu(self.interior2(self.bn2(self.conv2(x))))
        out: Tensor = self.attention(self.bn3(self.conv3(x)))
        return out


class ResNet(nn.Module):
    """Stem, stages of residual blocks, global average pooling, one linear classifier."""

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: Sequence[int],
        widths: Sequence[int],
        *,
        input_shape: tuple[int, int, int],
        classes: int,
        stem: Stem = "cifar",
        attention: AttentionPlan | None = None,
    ) -> None:
        super().__init__()
        attention = attention or AttentionPlan()
        in_channels, *spatial = input_shape
        size: Size = (spatial[0], spatial[1])
        if stem == "imagenet":
            conv, bn = _conv_bn(in_channels, widths[0], 7, stride=2)
            self.stem = nn.Sequential(conv, bn, nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1))
            size = strided(strided(size, 2), 2)
        else:
            self.stem = nn.Sequential(*_conv_bn(in_channels, widths[0], 3), nn.ReLU())
        channels = widths[0]
        stages = []
        for index, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            blocks: list[nn.Module] = []
            for position in range(depth):
                if attention.replaces and index >= len(depths) - 2 and 0 < position == depth - 1:
                    blocks.append(attention.at("replace", channels, size))
                    continue
                stride = 2 if index > 0 and position == 0 else 1
                blocks.append(block(channels, width, stride, size, attention))
                size = strided(size, stride)
                channels = width * block.expansion
            if index < len(depths) - 1 and attention.placement == "stage":
                blocks.append(attention.at("stage", channels, size))
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.classifier = nn.Linear(channels, classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, classes), logits."""
        x = self.stages(self.stem(x))  # (N, C', H', W')
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits


def cifar_resnet(
    depth: int,
    *,
    input_shape: tuple[int, int, int],
    classes: int,
    width: float = 1.0,
    stem: Stem = "cifar",
    attention: AttentionPlan | None = None,
) -> ResNet:
    """ResNet of depth 6n + 2 with three stages of n basic blocks."""
    widths = [scaled_width(channels, width) for channels in (16, 32, 64)]
    depths = [(depth - 2) // 6] * 3
    return ResNet(BasicBlock, depths, widths, input_shape=input_shape, classes=classes, stem=stem, attention=attention)


def imagenet_resnet(
    block: type[BasicBlock] | type[Bottleneck],
    depths: Sequence[int],
    *,
    input_shape: tuple[int, int, int],
    classes: int,
    width: float = 1.0,
    stem: Stem = "cifar",
    attention: AttentionPlan | None = None,
) -> ResNet:
    """ResNet with four stages of 64, 128, 256, 512 channels (times the block's expansion)."""
    widths = [scaled_width(channels, width) for channels in (64, 128, 256, 512)]
    return ResNet(block, depths, widths, input_shape=input_shape, classes=classes, stem=stem, attention=attention)
