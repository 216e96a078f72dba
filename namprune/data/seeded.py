"""Random generators that depend on a key alone, so that any draw can be repeated without those before it."""

import hashlib

import torch


def generator(purpose: str, *key: int) -> torch.Generator:
    """A CPU generator of its own for each purpose and key: one draw never shifts another."""
    text = ":".join((purpose, *map(str, key)))
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return torch.Generator().manual_seed(seed)
