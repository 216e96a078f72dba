"""OpenVINO's intermediate representation: a graph (.xml) and its weights in float32 (.bin)."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from namprune.export.hush import hushed
from namprune.export.program import refused, traced
from namprune.export.shipped import Shipped, require


def write_openvino(shipped: Shipped, *, metadata: Mapping[str, str]) -> tuple[bytes, bytes]:
    """The graph, which holds the metadata under `rt_info`, and the weights.

    Raises:
        UserError: openvino is not installed, or cannot say what the network does.
    """
    require("openvino")
    import openvino

    program = traced(shipped)
    try:
        with hushed():
            model = openvino.convert_model(program)
    except RuntimeError as error:
        raise refused("OpenVINO", error) from error
    model.input(0).tensor.set_names({shipped.input_name})
    model.output(0).tensor.set_names({"logits"})
    for key, value in metadata.items():
        model.set_rt_info(value, key.split("."))
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "model.xml"
        openvino.save_model(model, graph, compress_to_fp16=False)
        return graph.read_bytes(), graph.with_suffix(".bin").read_bytes()


def run_openvino(graph: bytes, weights: bytes) -> Callable[[Tensor], Tensor]:
    """From what the network takes to logits (N, classes), computed in float32 on the CPU."""
    import openvino

    core = openvino.Core()
    # left alone it would take bfloat16 where the processor has it
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = core.compile_model(core.read_model(graph, weights), "CPU", options)

    def run(x: Tensor) -> Tensor:
        return torch.from_numpy(compiled(x.numpy())[0])

    return run
