"""What a network costs and how good it is."""

from namprune.measure.accuracy import accuracy, split_accuracy
from namprune.measure.complexity import attention_sizes, complexity, layer_macs
from namprune.measure.latency import interleaved_latency
from namprune.measure.latency_table import LatencyTable

__all__ = [
    "LatencyTable",
    "accuracy",
    "attention_sizes",
    "complexity",
    "interleaved_latency",
    "layer_macs",
    "split_accuracy",
]
