"""What a recipe says of the attention: a section per module, told apart by `name`."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from namprune.choices import Placement
from namprune.recipe.section import Section


class NoAttention(Section):
    """A plain network."""

    name: Literal["none"] = "none"


class NAMSection(Section):
    """Normalization-based attention, arXiv 2111.12419."""

    name: Literal["nam"]
    placement: Placement = "block"
    """`block`: after the last BN before the residual add, as published; `interior`: inside the block; `both`;
    `stage`: before each downsampling; `replace`: in the place of two late blocks."""
    part: Literal["channel", "spatial", "both"] = "channel"
    """Channel gate, spatial (pixel) gate, or the one after the other."""
    scale: Literal["sum", "mean"] = "sum"
    """Normaliser of the factors: `sum` as published, `mean` = channels times that, so the gate varies."""
    detach: bool = True
    """Whether gradients stop at the normalized factors, as in the published code."""


Reduction = Annotated[int, Field(ge=1, le=1024)]


class SESection(Section):
    """Squeeze-and-Excitation, arXiv 1709.01507."""

    name: Literal["se"]
    placement: Placement = "block"
    reduction: Reduction = 16
    """Channels per unit of the bottleneck, which is at least 4 wide."""
    bias: bool = True
    """Whether its linear layers have biases, as in the authors' networks."""


class CBAMSection(Section):
    """Convolutional block attention, arXiv 1807.06521."""

    name: Literal["cbam"]
    placement: Placement = "block"
    reduction: Reduction = 16
    """Channels per unit of the bottleneck, which is at least 4 wide."""
    kernel: Literal[3, 5, 7] = 7
    """Side of the spatial gate's filter."""


class BAMSection(Section):
    """Bottleneck attention, arXiv 1807.06514."""

    name: Literal["bam"]
    placement: Placement = "stage"
    reduction: Reduction = 16
    """Channels per unit of the bottlenecks, which are at least 4 wide."""
    dilation: Annotated[int, Field(ge=1, le=16)] = 4
    """Of the spatial branch's 3x3 convolutions."""
    combine: Literal["sum", "mul"] = "sum"
    """How the branches meet: `sum` as in the paper, `mul` as in the published weights."""


class SASection(Section):
    """Shuffle attention, arXiv 2102.00240."""

    name: Literal["sa"]
    placement: Placement = "block"
    groups: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Groups of two halves; by default the most that fit each layer, up to the authors' 64."""


class ULSAMSection(Section):
    """Ultra-lightweight subspace attention, arXiv 2006.15102."""

    name: Literal["ulsam"]
    placement: Placement = "replace"
    groups: Annotated[int, Field(ge=1, le=1024)] = 4
    """Subspaces of channels with an attention map each."""


class ECASection(Section):
    """Efficient channel attention, arXiv 1910.03151."""

    name: Literal["eca"]
    placement: Placement = "block"


class HalfSection(Section):
    """The constant gate 0.5, a control for NAM."""

    name: Literal["half"]
    placement: Placement = "block"


AttentionSection: TypeAlias = (
    NoAttention
    | NAMSection
    | SESection
    | CBAMSection
    | BAMSection
    | SASection
    | ULSAMSection
    | ECASection
    | HalfSection
)
