"""A network as a graph of layers and operations: the only file that talks to torch-pruning.

The library (DepGraph, https://arxiv.org/abs/2301.12900) reads the graph from autograd's record of a forward pass. What
its own index mappings take to be (a shuffle, a split, a reshape that means something else) makes it fail or never end;
so the pass is watched (`Follower`), the graph holds only what carries channels one to one, and the places of channels
are those that were seen. Attention modules are one operation each while it is made.
"""

import functools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from namprune.attention import Attention, opaque
from namprune.errors import PruneError
from namprune.modes import modes_kept
from namprune.pruning.carried import Move
from namprune.pruning.follow import Follower
from namprune.pruning.layers import is_known

FAULTS = (RuntimeError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, AssertionError)
"""What the code of a network, or the library, raises where it meets what it was not made for."""


@dataclass(eq=False)
class Node:
    """A layer, an operation between layers, or an end."""

    module: nn.Module | None
    """None for an operation."""
    end: str | None = None
    """Why channels that come here stay."""
    ahead: list[tuple["Node", Move | None]] = field(default_factory=list)
    """What takes the result, and where the channels are in what becomes of it."""
    behind: list[tuple["Node", Move | None]] = field(default_factory=list)
    """What the result is made of, and where the channels of that are in it."""


@dataclass(frozen=True)
class Trace:
    """The graph of a network."""

    nodes: tuple[Node, ...]
    skipped: dict[str, str]
    """Layers with channels of their own that are no nodes, and why."""


def trace(model: nn.Module, input_shape: tuple[int, int, int]) -> Trace:
    """Run a network once, in eval mode, and read its graph. The network stays as it is.

    Raises:
        PruneError: it does not run on pictures of this shape.
    """
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    parameter = next(model.parameters())
    follower = Follower(model)
    tp, opaque_pruner = _library()
    try:
        model.requires_grad_(True)  # autograd must record every layer
        with modes_kept(model), opaque(), torch.enable_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="torch_pruning")  # of inferences that are not made use of
            graph = tp.DependencyGraph().build_dependency(
                model,
                # two pictures: one would not tell (1, C) from (C,)
                example_inputs=torch.zeros(2, *input_shape, device=parameter.device, dtype=parameter.dtype),
                forward_fn=follower.run,
                customized_pruners={type(one): opaque_pruner for one in model.modules() if isinstance(one, Attention)},
                ignored_layers=[],
                verbose=False,
            )
    except FAULTS as error:
        raise PruneError(f"this network cannot be traced: {str(error) or type(error).__name__}") from error
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
    return Trace(tuple(_nodes(graph, follower)), follower.skipped)


def _nodes(graph: Any, follower: Follower) -> Iterator[Node]:
    theirs = [*graph.module2node.values()]
    ours = {
        node: Node(
            node.module if isinstance(node.module, nn.Module) and is_known(node.module) else None,
            follower.ends.get(node.grad_fn),
        )
        for node in theirs
    }
    for node in theirs:
        moves = follower.moves.get(node.grad_fn) or [None] * len(node.inputs)
        for source, move in zip(node.inputs, moves, strict=True):
            ours[node].behind.append((ours[source], move))
            ours[source].ahead.append((ours[node], move))
    for node in theirs:
        vars(node).clear()  # they are cyclic, and hold the activations of the pass
    yield from ours.values()


@functools.cache
def _library() -> tuple[Any, Any]:
    """torch-pruning, and what makes an attention one node of its graph. Not loaded before it is needed: it brings timm
    along where that is installed, which takes three seconds."""
    import torch_pruning as tp

    class Opaque(tp.BasePruningFunc):  # type: ignore[misc]
        """An attention cuts itself."""

        TARGET_MODULES = Attention

        def get_out_channels(self, layer: Attention) -> int:
            return layer.channels

        def prune_out_channels(self, layer: Attention, idxs: object) -> nn.Module:
            raise NotImplementedError

        get_in_channels, prune_in_channels = get_out_channels, prune_out_channels

    return tp, Opaque()
