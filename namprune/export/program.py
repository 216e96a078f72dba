"""PyTorch's own exported programs: .pt2 files, and what the other exporters start from."""

import io
import json
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from namprune.errors import UserError
from namprune.export.hush import hushed
from namprune.export.shipped import Shipped

METADATA = "namprune.json"
"""Of the extra files in a .pt2: one JSON object of texts."""

_FAULTS = (RuntimeError, ValueError, TypeError, AssertionError, AttributeError, LookupError)


def traced(shipped: Shipped) -> torch.export.ExportedProgram:
    """A network as a graph for any number of pictures.

    Raises:
        UserError: it cannot be one: it computes otherwise for other pictures or numbers of them.
    """
    shapes = ({0: torch.export.Dim("batch")},)
    with hushed():
        try:
            try:
                program = torch.export.export(shipped.network, (shipped.example,), dynamic_shapes=shapes)
            except _FAULTS:  # len(x) is a constant there, and a variable to the compiler that reads the code
                program = torch.export.export(shipped.network, (shipped.example,), dynamic_shapes=shapes, strict=True)
        except _FAULTS as error:
            raise refused("torch.export", error) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # with paths of this machine
    return program


def write_program(shipped: Shipped, *, metadata: Mapping[str, str]) -> bytes:
    """A .pt2 file."""
    file = io.BytesIO()
    torch.export.save(traced(shipped), file, extra_files={METADATA: json.dumps(dict(metadata))})
    return file.getvalue()


def run_program(data: bytes) -> Callable[[Tensor], Tensor]:
    """From what a .pt2 that was just written takes to logits (N, classes)."""
    module = torch.export.load(io.BytesIO(data)).module()

    def run(x: Tensor) -> Tensor:
        logits: Tensor = module(x)
        return logits

    return run


def refused(program: str, error: Exception) -> UserError:
    """What an exporter could not take, in a line."""
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return UserError(
        f"export: {program} does not take this network ({reason})", hint="--format safetensors takes every network"
    )
