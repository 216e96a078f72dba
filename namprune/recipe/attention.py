"""What a recipe says of the attention: a section per module, told apart by `name`."""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from namprune.choices import AttentionName, Placement
from namprune.recipe.section import Section


class NoAttention(Section):
    """A plain network."""

    name: Literal["none"] = "none"


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Patterns = Annotated[
    tuple[str, ...],
    Field(strict=False),
    BeforeValidator(_one_or_more, json_schema_input_type=str | tuple[str, ...]),
]


class PlacedSection(Section):
    """What every attention has: a name, and places in the network."""

    name: AttentionName
    placement: Placement = "block"
    """`block`: after the last BN before the residual add, as published; `interior`: inside the block; `both`;
    `stage`: before each downsampling; `replace`: in the place of two late blocks. Of this package's own networks."""
    at: Patterns = ()
    """BatchNorms of a torchvision, timm or python network that it is put behind, by shell patterns of their names such
    as `layer*.*.bn2`; by default the last of each block, in families that are known."""


class NAMSection(PlacedSection):
    """Normalization-based attention, arXiv 2111.12419."""

    name: Literal["nam"]
    part: Literal["channel", "spatial", "both"] = "channel"
    """Channel gate, spatial (pixel) gate, or the one after the other."""
    scale: Literal["sum", "mean"] = "sum"
    """Normaliser of the factors: `sum` as published, `mean` = channels times that, so the gate varies."""
    detach: bool = True
    """Whether gradients stop at the normalized factors, as in the published code."""


Reduction = Annotated[int, Field(ge=1, le=1024)]


class SESection(PlacedSection):
    """Squeeze-and-Excitation, arXiv 1709.01507."""

    name: Literal["se"]
    reduction: Reduction = 16
    """Channels per unit of the bottleneck, which is at least 4 wide."""
    bias: bool = True
    """Whether its linear layers have biases, as in the authors' networks."""


class CBAMSection(PlacedSection):
    """Convolutional block attention, arXiv 1807.06521."""

    name: Literal["cbam"]
    reduction: Reduction = 16
    """Channels per unit of the bottleneck, which is at least 4 wide."""
    kernel: Literal[3, 5, 7] = 7
    """Side of the spatial gate's filter."""


class BAMSection(PlacedSection):
    """Bottleneck attention, arXiv 1807.06514."""

    name: Literal["bam"]
    placement: Placement = "stage"
    """As of `nam`; its own place is before each downsampling."""
    reduction: Reduction = 16
    """Channels per unit of the bottlenecks, which are at least 4 wide."""
    dilation: Annotated[int, Field(ge=1, le=16)] = 4
    """Of the spatial branch's 3x3 convolutions."""
    combine: Literal["sum", "mul"] = "sum"
    """How the branches meet: `sum` as in the paper, `mul` as in the published weights."""


class SASection(PlacedSection):
    """Shuffle attention, arXiv 2102.00240."""

    name: Literal["sa"]
    groups: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Groups of two halves; by default the most that fit each layer, up to the authors' 64."""


class ULSAMSection(PlacedSection):
    """Ultra-lightweight subspace attention, arXiv 2006.15102."""

    name: Literal["ulsam"]
    placement: Placement = "replace"
    """As of `nam`; its own place is that of two late blocks."""
    groups: Annotated[int, Field(ge=1, le=1024)] = 4
    """Subspaces of channels with an attention map each."""


class ECASection(PlacedSection):
    """Efficient channel attention, arXiv 1910.03151."""

    name: Literal["eca"]


class HalfSection(PlacedSection):
    """The constant gate 0.5, a control for NAM."""

    name: Literal["half"]


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
