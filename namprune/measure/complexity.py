"""MACs, parameters and bytes of a network: thop with our rules, PyTorch's own counter as a cross-check.

Convention: one multiply-accumulate of a convolution or linear layer counts one; BatchNorm counts nothing, because
it folds into its convolution (thop's own rule counts it four per element, which is 9 % of MobileNetV2 and no
multiply-accumulate), and nothing do other norms, poolings and activations; an attention module counts what its `macs`
says, its element-wise products included.
"""

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils.flop_counter import FlopCounterMode

from namprune.attention import Attention
from namprune.result import Complexity

Shape = tuple[int, int, int]


def complexity(model: nn.Module, input_shape: Shape) -> Complexity:
    """Cost of one picture of (C, H, W). The model is left as it was."""
    macs = sum(layer_macs(model, input_shape).values())
    with _example(model, input_shape) as (probe, x), FlopCounterMode(display=False) as counter:
        probe(x)
    parameters = list(model.parameters())
    return Complexity(
        macs=macs,
        macs_aten=counter.get_total_flops() // 2,
        params=sum(p.numel() for p in parameters),
        bytes=sum(p.numel() * p.element_size() for p in [*parameters, *model.buffers()]),
    )


_MULTIPLYING = (_ConvNd, nn.Linear, nn.RNNBase, nn.RNNCellBase)
"""Layers of multiply-accumulates; thop counts operations of pooling and normalization, too."""

_COUNTED = (nn.Conv2d, nn.Linear)
"""Whose subclasses count as they do: timm has some of its own."""


def layer_macs(model: nn.Module, input_shape: Shape) -> dict[str, int]:
    """MACs of one picture by layer name, for every layer that has any."""
    rules: dict[type[nn.Module], Callable[..., None]] = {}
    with _example(model, input_shape) as (probe, x), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # thop compares versions with distutils
        from thop import profile
        from thop.profile import register_hooks

        rules |= {kind: _count_nothing for kind in register_hooks if not issubclass(kind, _MULTIPLYING)}
        rules |= {type(module): _count_attention for module in model.modules() if isinstance(module, Attention)}
        for kind in {type(module) for module in model.modules()}:  # thop knows exact classes alone
            if base := next((base for base in _COUNTED if issubclass(kind, base)), None):
                rules[kind] = register_hooks[base]
        _, _, tree = profile(probe, inputs=(x,), custom_ops=rules, verbose=False, ret_layer_info=True)
    return dict(_leaves(tree, ""))


def attention_sizes(model: nn.Module, input_shape: Shape) -> dict[str, tuple[int, int]]:
    """Height and width of what each attention is given, by its name."""
    sizes: dict[str, tuple[int, int]] = {}
    if not any(isinstance(module, Attention) for module in model.modules()):
        return sizes
    with _example(model, input_shape) as (probe, x):
        for name, module in probe.named_modules():
            if isinstance(module, Attention):
                module.register_forward_pre_hook(
                    lambda _module, inputs, name=name: sizes.update({name: tuple(inputs[0].shape[2:])})
                )
        probe(x)
    return sizes


@contextmanager
def _example(model: nn.Module, input_shape: Shape) -> Iterator[tuple[nn.Module, Tensor]]:
    """A copy to profile (thop leaves its buffers behind) with one zero picture on its device."""
    probe = copy.deepcopy(model).eval()
    device = next(probe.parameters()).device
    with torch.no_grad():
        yield probe, torch.zeros(1, *input_shape, device=device)


def _count_nothing(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    """Leave total_ops at zero."""


def _count_attention(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ARG001
    assert isinstance(module, Attention)  # noqa: S101 - registered for these types alone
    total = module.total_ops  # thop's buffer
    assert isinstance(total, Tensor)  # noqa: S101
    total += module.macs(inputs[0])


def _leaves(tree: dict[str, Any], prefix: str) -> Iterator[tuple[str, int]]:
    """thop's nested {name: (ops, params, children)} as (dotted name, ops)."""
    for name, (ops, _, children) in tree.items():
        if children:
            yield from _leaves(children, f"{prefix}{name}.")
        elif ops:
            yield f"{prefix}{name}", int(ops)
