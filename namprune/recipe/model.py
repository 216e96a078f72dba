"""What a recipe says of the network: a section per place that networks come from, told apart by `source`."""

import re
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field

from namprune.choices import ModelName, Stem
from namprune.recipe.section import Section

LONGEST_STEM = 40
"""Characters of a network's name that a run's, which has 64 at most, begins with."""


class NamedModel(Section):
    """One of the networks that come with the package."""

    source: Literal["namprune"] = "namprune"
    name: ModelName
    """Architecture."""
    width: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Factor on every channel count (rounded to a multiple of 8)."""
    stem: Stem = "cifar"
    """`cifar` keeps the resolution of small pictures, `imagenet` downsamples by 4 at once."""

    @property
    def label(self) -> str:
        """How reports name it."""
        return self.name

    @property
    def stem_name(self) -> str:
        """How the names of its runs begin."""
        return _stem_name(self.name)


class _LibraryModel(Section):
    source: Literal["torchvision", "timm"]
    name: str
    """Architecture, in the library's words."""
    weights: str | None = None
    """What it starts from: `DEFAULT` for those that the library publishes, or a file (safetensors, or a state dict that
    torch.save wrote); null = fresh ones."""

    @property
    def label(self) -> str:
        """How reports name it."""
        return f"{self.name} ({self.source})"

    @property
    def stem_name(self) -> str:
        """How the names of its runs begin."""
        return _stem_name(self.name)


class TorchvisionModel(_LibraryModel):
    """A classification network of torchvision."""

    source: Literal["torchvision"]


class TimmModel(_LibraryModel):
    """A network of timm, with the extra `namprune[timm]`."""

    source: Literal["timm"]


def _target(text: str) -> str:
    module, colon, name = text.partition(":")
    if not (colon and name.isidentifier() and all(part.isidentifier() for part in module.split("."))):
        raise ValueError(f"expected package.module:callable, got {text[:80]!r}")
    return text


class PythonModel(Section):
    """A network of the user's own code, which runs with all rights that this process has."""

    source: Literal["python"]
    target: Annotated[str, AfterValidator(_target)]
    """`package.module:callable`, looked for in the current folder first; called with `num_classes` it returns the
    network."""
    weights: str | None = None
    """A file that it starts from (safetensors, or a state dict that torch.save wrote); null = fresh weights."""

    @property
    def label(self) -> str:
        """How reports name it."""
        return f"{self.target} (python)"

    @property
    def stem_name(self) -> str:
        """How the names of its runs begin."""
        return _stem_name(self.target.replace(":", "-"))


def _stem_name(text: str) -> str:
    """`text` in the characters that a run's name may have."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip("._-")[:LONGEST_STEM] or "network"


ForeignModel: TypeAlias = TorchvisionModel | TimmModel | PythonModel
"""Networks that were not made for this package: attention is put into them afterwards."""

ModelSection: TypeAlias = NamedModel | ForeignModel
