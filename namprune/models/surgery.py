"""Attention put into a network that was not made for it, behind BatchNorms, so that it computes almost what it did.

A gate multiplies with g where it starts (`Attention.initial_gate`: 0.5 for NAM), so γ and β of the BatchNorm in front
are divided by g. For a gate that starts constant this is exact, to rounding. NAM's is sigmoid(w γ x̂) with w = 1/C and
γ = `nam.SETTLED`, so a branch begins as 1 + O(1/C) of what it was: with x̂ from -3 to 3, within 0.6 % at 64 channels.
Its running statistics begin at what the BatchNorm in front says of its own outputs: mean β and variance γ². With
`scale: mean` w is 1: that gate varies at once, and training has to find its way.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from namprune.attention import Attention, AttentionFactory
from namprune.errors import UserError
from namprune.models.blocks import Size
from namprune.models.families import batchnorms
from namprune.modes import modes_kept
from namprune.nearest import did_you_mean


def insert_attention(
    model: nn.Module, factory: AttentionFactory, patterns: Sequence[str], input_shape: tuple[int, int, int]
) -> tuple[str, ...]:
    """Put attention behind every BatchNorm2d whose name matches one of the shell patterns, in place; their names.

    `input_shape` (C, H, W) is that of a picture. Weights that are trained stay of use: see the module.

    Raises:
        UserError: a pattern matches none, or one that has no γ and β or is not passed once by every picture.
        ValueError: the attention does not fit the width of a layer.
    """
    names = _matching(batchnorms(model), patterns)
    sizes = _sizes(model, names, input_shape)
    made = {}
    for name in names:  # all of them before the first is put in: one that does not fit leaves the network as it is
        norm = model.get_submodule(name)
        assert isinstance(norm, nn.BatchNorm2d)  # noqa: S101 - only those were looked at
        made[name] = norm, factory(norm.num_features, sizes[name]).to(norm.weight)
    for name, (norm, attention) in made.items():
        _replace(model, name, _gated(norm, attention))
    return names


@torch.no_grad()
def _gated(norm: nn.BatchNorm2d, attention: Attention) -> nn.Sequential:
    """BatchNorm, attention and, where the layer has one of its own as in timm, what was its activation."""
    norm.weight.div_(attention.initial_gate)
    norm.bias.div_(attention.initial_gate)
    attention.settle(norm.bias, norm.weight.square())
    parts: OrderedDict[str, nn.Module] = OrderedDict(norm=norm, attention=attention)
    activation = getattr(norm, "act", None)
    if isinstance(activation, nn.Module) and not isinstance(activation, nn.Identity):
        norm.act = nn.Identity()
        parts["act"] = activation
    return nn.Sequential(parts).train(norm.training)


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, key = name.rpartition(".")
    setattr(model.get_submodule(parent), key, module)


def _matching(norms: Sequence[str], patterns: Sequence[str]) -> tuple[str, ...]:
    for pattern in patterns:
        if not any(fnmatchcase(norm, pattern) for norm in norms):
            raise UserError(f"attention.at: {pattern!r} matches no BatchNorm2d", hint=did_you_mean(pattern, norms))
    return tuple(norm for norm in norms if any(fnmatchcase(norm, pattern) for pattern in patterns))


def _sizes(model: nn.Module, names: Sequence[str], input_shape: tuple[int, int, int]) -> dict[str, Size]:
    """Height and width of what each of the layers gives."""
    seen: dict[str, list[Size]] = defaultdict(list)
    handles = []
    for name in names:

        def note(_layer: nn.Module, _inputs: object, output: Tensor, name: str = name) -> None:
            seen[name].append((output.shape[2], output.shape[3]))

        handles.append(model.get_submodule(name).register_forward_hook(note))
    try:
        with torch.no_grad(), modes_kept(model):
            model.eval()(next(model.parameters()).new_zeros(1, *input_shape))
    finally:
        for handle in handles:
            handle.remove()
    for name in names:
        if len(seen[name]) != 1:
            raise UserError(
                f"attention.at: a picture passes {name} {len(seen[name])} times, attention is for one place",
                hint="leave it out",
            )
        if not model.get_submodule(name).affine:
            raise UserError(f"attention.at: {name} has no γ and β, which take up the gate", hint="leave it out")
    return {name: sizes[0] for name, sizes in seen.items()}
