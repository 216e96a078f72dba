"""The formats: what each writes, and how what it wrote is run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from safetensors.torch import load, save
from torch import Tensor

from namprune.export.onnx import OnnxNetwork, write_onnx
from namprune.export.openvino import run_openvino, write_openvino
from namprune.export.program import run_program, write_program
from namprune.export.shipped import Shipped
from namprune.result import ExportFormat

Run = Callable[[Tensor], Tensor]
"""From normalized pictures, float32 (N, C, H, W), to logits (N, classes)."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """A file, the one beside it that some formats need, and both at work."""

    files: dict[str, bytes]
    """By suffix; the one to name comes first."""
    run: Run


def _onnx(shipped: Shipped, metadata: Mapping[str, str]) -> Written:
    data = write_onnx(shipped, metadata=metadata)
    return Written(files={".onnx": data}, run=_fed(shipped, OnnxNetwork(data)))


def _torch(shipped: Shipped, metadata: Mapping[str, str]) -> Written:
    data = write_program(shipped, metadata=metadata)
    return Written(files={".pt2": data}, run=_fed(shipped, run_program(data)))


def _openvino(shipped: Shipped, metadata: Mapping[str, str]) -> Written:
    graph, weights = write_openvino(shipped, metadata=metadata)
    return Written(files={".xml": graph, ".bin": weights}, run=_fed(shipped, run_openvino(graph, weights)))


def _fed(shipped: Shipped, network: Run) -> Run:
    return lambda x: network(shipped.fed(x))


WRITERS: dict[ExportFormat, Callable[[Shipped, Mapping[str, str]], Written]] = {
    "onnx": _onnx,
    "torch": _torch,
    "openvino": _openvino,
}
"""Of networks as graphs. Safetensors holds tensors alone, see `with_metadata`."""

SUFFIXES: dict[ExportFormat, str] = {
    "onnx": ".onnx",
    "torch": ".pt2",
    "safetensors": ".safetensors",
    "openvino": ".xml",
}
"""Of the file that is named."""


def with_metadata(weights: bytes, metadata: Mapping[str, str]) -> bytes:
    """A safetensors file with the same tensors, and these texts in its header."""
    return save(load(weights), metadata=dict(metadata))
