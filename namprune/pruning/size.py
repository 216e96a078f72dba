"""How many parameters, and how large a file, a cut leaves, without cutting the network: from the shapes of tensors.

A convolution's weight loses rows with its outputs and columns with its inputs, its bias and every vector of a
BatchNorm entries with the outputs; an attention is narrowed on a copy and asked.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import nn

from namprune.attention import Attention
from namprune.pruning.bottleneck import narrowed, narrowed_copy
from namprune.pruning.group import Cuts


@dataclass(frozen=True)
class Stored:
    """One tensor of a network's state."""

    shape: tuple[int, ...]
    itemsize: int
    parameter: bool

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


Tensors: TypeAlias = Mapping[str, Stored]


def stored(model: nn.Module) -> dict[str, Stored]:
    """Every tensor of a network's state by name; a shared parameter counts as one."""
    parameters = {name for name, _ in model.named_parameters()}
    state = model.state_dict()
    return {name: Stored(tuple(t.shape), t.element_size(), name in parameters) for name, t in state.items()}


def stored_after(tensors: Tensors, cuts: Cuts, *, shrinks: bool) -> dict[str, Stored]:
    """The same with only the given channels kept; `shrinks`: bottlenecks of attentions shrink with them."""
    shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
    for group, keep in cuts:
        goes = torch.ones(group.size, dtype=torch.bool)
        goes[keep] = False
        for member in group.members:
            lost = int(goes[member.channels].sum())
            dim = int(member.side == "in")
            own = () if isinstance(member.module, Attention) else member.module.state_dict()
            for shape in (shapes[f"{member.name}.{name}"] for name in own):
                if len(shape) > dim:  # a bias has no inputs, a count of batches no channels
                    shape[dim] -= lost
    for layer, (attention, keep) in narrowed(cuts).items():
        copied = narrowed_copy(attention, keep, shrinks=shrinks)
        shapes |= {f"{layer}.{name}": list(tensor.shape) for name, tensor in copied.state_dict().items()}
    return {name: replace(tensor, shape=tuple(shapes[name])) for name, tensor in tensors.items()}


def parameters(tensors: Tensors) -> int:
    """Number of parameters."""
    return sum(tensor.size for tensor in tensors.values() if tensor.parameter)


def file_bytes(tensors: Tensors) -> int:
    """Size of a safetensors file: 8 bytes, the header in JSON padded to a multiple of 8, the tensors."""
    header, end = {}, 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.size * tensor.itemsize
        # names of types have three letters but for few
        header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": (start, end)}
    text = json.dumps(header, separators=(",", ":"))
    return 8 + -(-len(text) // 8) * 8 + end
