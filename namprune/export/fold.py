"""A network as it ships: BatchNorms in the layers before them, each NAM as one product, sum, sigmoid and product."""

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from namprune.attention import NAM

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""Themselves alone: a subclass may compute anything."""


class Gate(nn.Module):
    """y = x * sigmoid(a x + b) with constants that broadcast to x: what a NAM is in eval mode."""

    def __init__(self, a: Tensor, b: Tensor) -> None:
        super().__init__()
        self.register_buffer("a", a)
        self.register_buffer("b", b)
        self.a: Tensor
        self.b: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return x * torch.sigmoid(x * self.a + self.b)


@torch.no_grad()
def folded(model: nn.Module, input_shape: tuple[int, int, int]) -> nn.Module:
    """A copy in eval mode that computes the same with less: see the head of this file.

    A BatchNorm is folded where it is all that reads the output of a convolution or linear layer, which one forward
    pass of an empty picture shows; all else stays.
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    for name, layer in _only_once(model).items():
        if isinstance(layer, NAM):
            _put(model, name, nn.Sequential(*(Gate(*part.affine()) for part in layer.parts)))
    names = {module: name for name, module in _only_once(model).items()}
    for layer, norm in _pairs(model, input_shape):
        if layer in names and norm in names:
            fuse: Any = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fuse_conv_bn_eval
            _put(model, names[layer], fuse(layer, norm))
            _put(model, names[norm], nn.Identity())
    return model


class _Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations that read what was made by the layers watched."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.made: dict[int, tuple[nn.Module, Tensor]] = {}
        """By identity, which is one tensor's alone because it is kept."""
        self.reads: Counter[int] = Counter()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Change nothing."""
        self.note((args, kwargs))
        return func(*args, **(kwargs or {}))

    def note(self, tree: object) -> None:
        """Each of its tensors is read."""
        self.reads.update(id(leaf) for leaf in tree_leaves(tree) if id(leaf) in self.made)


def _pairs(model: nn.Module, input_shape: tuple[int, int, int]) -> list[tuple[nn.Module, nn.Module]]:
    """Layers and the BatchNorms that are all that reads what they make; each runs once."""
    reads, calls = _Reads(), Counter[nn.Module]()
    behind: dict[int, nn.Module] = {}

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        calls[module] += 1
        if type(module) in LAYERS:
            reads.made[id(output)] = module, output
        elif id(inputs[0]) in reads.made and module.running_mean is not None:
            behind[id(inputs[0])] = module

    handles = [module.register_forward_hook(note) for module in model.modules() if type(module) in (*LAYERS, *NORMS)]
    parameter = next(model.parameters())
    x = torch.zeros(1, *input_shape, device=parameter.device, dtype=parameter.dtype)
    try:
        with reads:
            reads.note(model(x))
    finally:
        for handle in handles:
            handle.remove()
    found = []
    for key, norm in behind.items():
        layer, output = reads.made[key]
        rows = isinstance(layer, nn.Linear) and output.ndim != 2  # its features are not what a BatchNorm goes along
        if reads.reads[key] == 1 and calls[layer] == calls[norm] == 1 and not rows:
            found.append((layer, norm))
    return found


def _only_once(model: nn.Module) -> dict[str, nn.Module]:
    """Modules by name, without those that have several."""
    times = Counter(module for _, module in model.named_modules(remove_duplicate=False))
    return {name: module for name, module in model.named_modules() if name and times[module] == 1}


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
