"""Random generators that depend on a key alone, so that any draw can be repeated without those before it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def generator(purpose: str, *key: int) -> torch.Generator:
    """A CPU generator of its own for each purpose and key: one draw never shifts another."""
    return torch.Generator().manual_seed(_seed(purpose, *key))


@contextmanager
def seeded(purpose: str, *key: int) -> Iterator[None]:
    """PyTorch's global CPU generator as `generator` has it, for code that takes none; afterwards it is as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(_seed(purpose, *key))
        yield


def _seed(purpose: str, *key: int) -> int:
    text = ":".join((purpose, *map(str, key)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
