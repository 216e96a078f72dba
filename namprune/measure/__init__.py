"""What a network costs and how good it is."""

from namprune.measure.accuracy import accuracy
from namprune.measure.complexity import complexity, fixed_macs, layer_macs
from namprune.measure.latency import interleaved_latency

__all__ = ["accuracy", "complexity", "fixed_macs", "interleaved_latency", "layer_macs"]
