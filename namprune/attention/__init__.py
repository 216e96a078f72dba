"""Attention modules by name, and the factory that a model is given."""

from functools import partial

from namprune.attention.bam import BAM
from namprune.attention.cbam import CBAM
from namprune.attention.contract import LEAST_HIDDEN, Attention, AttentionFactory, Bottleneck, opaque
from namprune.attention.eca import ECA
from namprune.attention.half import Half
from namprune.attention.nam import NAM
from namprune.attention.sa import SA
from namprune.attention.se import SE
from namprune.attention.ulsam import ULSAM
from namprune.recipe.attention import AttentionSection

__all__ = [
    "ATTENTIONS",
    "LEAST_HIDDEN",
    "NAM",
    "Attention",
    "AttentionFactory",
    "Bottleneck",
    "build_attention",
    "opaque",
]

ATTENTIONS: dict[str, type[Attention]] = {
    "nam": NAM,
    "se": SE,
    "cbam": CBAM,
    "bam": BAM,
    "sa": SA,
    "ulsam": ULSAM,
    "eca": ECA,
    "half": Half,
}


def build_attention(section: AttentionSection) -> AttentionFactory | None:
    """The factory that a recipe's attention section describes; None for a plain network."""
    if section.name == "none":
        return None
    options = section.model_dump(exclude={"name", "placement", "at"})
    return partial(ATTENTIONS[section.name], **options)
