"""A run's network as a file for other programs: the record that lies beside it."""

from dataclasses import dataclass
from typing import Literal

from namprune.result.run import Accuracy

ExportFormat = Literal["onnx", "torch", "safetensors", "openvino"]
Quantize = Literal["none", "int8"]


@dataclass(frozen=True, kw_only=True)
class Export:
    """What was written and how it was checked."""

    file: str
    """Name of the file, which lies beside the record."""
    format: ExportFormat
    quantize: Quantize
    bytes: int
    """Of all that ships: of OpenVINO the graph and its weights."""
    sha256: str
    """Of `file`."""
    difference: float | None
    """Largest difference of a logit from torch's when it was run again; None where there is nothing to run."""
    val: Accuracy | None
    test: Accuracy | None
    """Of int8, in onnxruntime."""
    weights: str
    """SHA-256 of the run's weights: another run that took its name later is not it."""
    created: str
    """ISO 8601 in UTC."""
    versions: dict[str, str]
