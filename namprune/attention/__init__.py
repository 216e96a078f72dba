"""Attention modules by name, and the factory that a model is given."""

from functools import partial

from namprune.attention.contract import Attention, AttentionFactory, opaque
from namprune.attention.nam import NAM
from namprune.recipe.schema import NAMSection, NoAttention

__all__ = ["ATTENTIONS", "NAM", "Attention", "AttentionFactory", "build_attention", "opaque"]

ATTENTIONS: dict[str, type[Attention]] = {"nam": NAM}


def build_attention(section: NoAttention | NAMSection) -> AttentionFactory | None:
    """The factory that a recipe's attention section describes; None for a plain network."""
    if isinstance(section, NoAttention):
        return None
    options = section.model_dump(exclude={"name", "placement"})
    return partial(ATTENTIONS[section.name], **options)
