"""What a network costs and how good it is."""

from namprune.measure.accuracy import accuracy
from namprune.measure.complexity import complexity, layer_macs
from namprune.measure.latency import interleaved_latency

__all__ = ["accuracy", "complexity", "interleaved_latency", "layer_macs"]
