"""ONNX files by PyTorch's exporter, and onnxruntime to run them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from namprune.export.hush import hushed
from namprune.export.program import refused, traced
from namprune.export.shipped import Moments, Shipped, require, ship

OPSET = 20


def onnx_bytes(
    model: nn.Module,
    input_shape: tuple[int, int, int],
    *,
    metadata: Mapping[str, str] | None = None,
    moments: Moments | None = None,
) -> bytes:
    """A network as one ONNX file for any number of pictures, folded: `pictures`, float32 (N, C, H, W), to `logits`.

    With `moments` the input is `pixels`, uint8 (N, H, W, C). The model is left as it was.

    Raises:
        UserError: onnx or onnxscript is not installed, or has no way to say what the network does.
    """
    return write_onnx(ship(model, input_shape, moments=moments), metadata=metadata or {})


def write_onnx(shipped: Shipped, *, metadata: Mapping[str, str]) -> bytes:
    """The same of a network that is folded already."""
    require("onnx")
    with hushed():
        try:
            program = torch.onnx.export(
                traced(shipped),
                dynamo=True,
                opset_version=OPSET,
                input_names=[shipped.input_name],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise refused("ONNX", error) from error
    assert program is not None  # noqa: S101 - dynamo gives one
    return noted(program.model_proto, metadata)


def noted(proto: Any, metadata: Mapping[str, str]) -> bytes:
    """A model as a file with these notes, and none of the tools': stack traces, paths of this machine among them."""
    graph = proto.graph
    for part in (proto, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
    for key, value in metadata.items():
        proto.metadata_props.add(key=key, value=value)
    data: bytes = proto.SerializeToString()
    return data


class OnnxNetwork(nn.Module):
    """An ONNX file as a network, run by onnxruntime on the CPU, so that what measures networks measures it."""

    def __init__(self, file: bytes | Path, *, threads: int | None = None) -> None:
        """Compute with as many threads as torch does, if not told otherwise. Of bytes the session keeps a copy."""
        require("onnx")
        import onnxruntime

        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        (entry,) = self.session.get_inputs()
        self.entry: str = entry.name
        self.place = nn.Parameter(torch.empty(0), requires_grad=False)  # says that it is on the CPU

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> logits (N, classes)."""
        (logits,) = self.session.run(None, {self.entry: x.contiguous().numpy()})
        return torch.from_numpy(logits)
