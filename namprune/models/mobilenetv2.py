"""MobileNetV2 (Sandler et al., 2018), https://arxiv.org/abs/1801.04381.

The `cifar` stem leaves out the first two of the five downsamplings (stride 1 in the first convolution and in the
24-channel stage), so that 32x32 pictures end as 4x4 maps.
"""

from torch import Tensor, nn

from namprune.choices import Stem
from namprune.models.blocks import AttentionPlan, Size, initialise, scaled_width, strided

STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, output channels, blocks, stride of the first block (table 2 of the paper)."""

REPLACED = (4, 5)
"""Stages whose last block `placement: replace` replaces: one of 96 and one of 160 channels, as ULSAM's headline
network, whose published 2.96 M parameters and 261.88 M MACs single these out (https://arxiv.org/abs/2006.15102)."""


class InvertedResidual(nn.Module):
    """Expand by a 1x1 convolution, filter by a depthwise 3x3, project by a linear 1x1; add where shapes allow.

    Interior attention is on the expanded channels, after the depthwise BN; block attention after the projection's.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        expansion: int,
        stride: int,
        size: Size,
        attention: AttentionPlan,
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.residual = stride == 1 and in_channels == channels
        self.expand = (
            nn.Sequential(nn.Conv2d(in_channels, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6())
            if expansion != 1
            else nn.Identity()
        )
        size = strided(size, stride)
        self.depthwise = nn.Sequential(
            nn.Conv2d(hidden, hidden, 3, stride=stride, padding=1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
        )
        self.interior = attention.at("interior", hidden, size)
        self.activation = nn.ReLU6()
        self.project = nn.Sequential(nn.Conv2d(hidden, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.attention = attention.at("block", channels, size)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in, H, W) -> (N, C_out, H', W')."""
        out: Tensor = self.activation(self.interior(self.depthwise(self.expand(x))))  # (N, hidden, H', W')
        out = self.attention(self.project(out))  # (N, C_out, H', W')
        return x + out if self.residual else out


class MobileNetV2(nn.Module):
    """Stem, seven stages of inverted residuals, a 1x1 convolution, pooling, dropout and a linear classifier."""

    def __init__(
        self,
        *,
        input_shape: tuple[int, int, int],
        classes: int,
        width: float = 1.0,
        stem: Stem = "cifar",
        attention: AttentionPlan | None = None,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        attention = attention or AttentionPlan()
        in_channels, height, width_px = input_shape
        stem_stride, second_stride = (2, 2) if stem == "imagenet" else (1, 1)
        size = strided((height, width_px), stem_stride)
        channels = scaled_width(32, width)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, stride=stem_stride, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU6(),
        )
        blocks: list[nn.Module] = []
        for index, (expansion, out, depth, stride) in enumerate(STAGES):
            for position in range(depth):
                step = 1 if position else (second_stride if index == 1 else stride)
                out_channels = scaled_width(out, width)
                if attention.replaces and index in REPLACED and position == depth - 1:
                    blocks.append(attention.at("replace", channels, size))
                    continue
                if step == 2 and attention.placement == "stage":
                    blocks.append(attention.at("stage", channels, size))
                blocks.append(InvertedResidual(channels, out_channels, expansion, step, size, attention))
                size, channels = strided(size, step), out_channels
        self.blocks = nn.Sequential(*blocks)
        last = scaled_width(1280, max(1.0, width))
        self.head = nn.Sequential(nn.Conv2d(channels, last, 1, bias=False), nn.BatchNorm2d(last), nn.ReLU6())
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(last, classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, classes), logits."""
        x = self.head(self.blocks(self.stem(x)))  # (N, C', H', W')
        logits: Tensor = self.classifier(self.dropout(x.mean((2, 3))))
        return logits
