"""From a network to files that other programs run, checked against what torch computes.

Of the extras `onnx` and `openvino` a format needs its own. The command is `namprune.export_run`, because this room
has the shorter name.
"""

from namprune.export.check import checked
from namprune.export.fold import folded
from namprune.export.formats import SUFFIXES, WRITERS, Written, with_metadata
from namprune.export.metadata import describe
from namprune.export.onnx import OnnxNetwork, onnx_bytes
from namprune.export.quantize import int8_bytes
from namprune.export.shipped import LIBRARIES, Shipped, require, ship

__all__ = [
    "LIBRARIES",
    "SUFFIXES",
    "WRITERS",
    "OnnxNetwork",
    "Shipped",
    "Written",
    "checked",
    "describe",
    "folded",
    "int8_bytes",
    "onnx_bytes",
    "require",
    "ship",
    "with_metadata",
]
