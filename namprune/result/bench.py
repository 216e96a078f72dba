"""What networks take where they are run, measured side by side in one process."""

from dataclasses import dataclass
from typing import Literal

from namprune.result.export import Quantize
from namprune.result.run import Environment, Latency

Runtime = Literal["torch", "onnxruntime"]
"""What runs the networks."""


@dataclass(frozen=True, kw_only=True)
class Benched:
    """One network at one batch size. Ratios are to the float32 network of its dense ancestor: None for that itself, and
    where it could not be had."""

    run: str
    file: str | None
    """Its path in the run's folder; None for one that was made to be measured alone."""
    quantize: Quantize
    macs: int
    macs_ratio: float | None
    latency: Latency
    latency_ratio: float | None
    pictures_per_second: float
    noisy: bool
    """Whether the inter-quartile range exceeds a tenth of the median."""
    memory: int | None
    """Bytes that the network and its activations took at most, beside the libraries; None where nobody can tell."""
    bytes: int
    """Of the file."""
    bytes_ratio: float | None


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Batch by batch: each dense network, and what came from it."""

    runtime: Runtime
    environment: Environment
    networks: tuple[Benched, ...]
