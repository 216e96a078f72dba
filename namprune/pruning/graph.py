"""Which channels must go together: the only file that talks to torch-pruning.

From the library (DepGraph, https://arxiv.org/abs/2301.12900) come the dependency graph, its index mappings and the
functions that cut one layer. What to cut is decided elsewhere: its own pruner drops groups in silence, removes all
ties and passes its own caps. Attention modules are opaque while tracing and cut themselves (`Attention.prune`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from namprune.attention import Attention, opaque
from namprune.errors import PruneError
from namprune.modes import modes_kept

Side = Literal["out", "in", "both"]


@dataclass(frozen=True)
class Member:
    """A layer that loses channels with its group.

    `positions[i]` is the index, along the layer's `side`, of what belongs to channel `channels[i]` of the group:
    the same numbers for most layers, shifted after a concatenation, several per channel after a flattening.
    `both` is a layer whose inputs and outputs are the same channels: normalization, depthwise, attention.
    """

    name: str
    module: nn.Module
    side: Side
    positions: Tensor  # (k,)
    channels: Tensor  # (k,)
    fed_by: str | None = None
    """Of an attention: the layer whose output it gates."""


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that only go together, through every layer that carries them. `root` is a layer that makes them."""

    root: str
    size: int
    members: tuple[Member, ...]

    @property
    def makers(self) -> tuple[Member, ...]:
        """Convolutions and linear layers whose outputs the channels are."""
        return tuple(m for m in self.members if m.side != "in" and isinstance(m.module, nn.Conv2d | nn.Linear))

    @property
    def readers(self) -> tuple[Member, ...]:
        """Convolutions and linear layers that take the channels as inputs alone."""
        return tuple(m for m in self.members if m.side == "in" and isinstance(m.module, nn.Conv2d | nn.Linear))

    @property
    def norms(self) -> tuple[Member, ...]:
        """BatchNorms with scale factors on the channels."""
        return tuple(m for m in self.members if isinstance(m.module, _BatchNorm) and m.module.affine)

    @property
    def attentions(self) -> tuple[Member, ...]:
        """Attention modules on the channels."""
        return tuple(m for m in self.members if isinstance(m.module, Attention))

    def per_channel(self, member: Member, values: Tensor, *, reduce: Literal["amax", "sum"] = "amax") -> Tensor:
        """Values along a member's side as those of the group's channels, (size,), on the CPU.

        Where a channel has several positions, the largest of their values (of zero or more), or the sum.
        """
        picked = values.cpu()[member.positions]
        return torch.zeros(self.size).scatter_reduce(0, member.channels, picked.float(), reduce, include_self=True)


class ChannelGraph:
    """The channel groups of one network, and the knife.

    Tracing keeps mode and `requires_grad` of the network. A removal puts new parameters in the place of the old,
    so an optimizer built before it holds stale ones.
    """

    def __init__(self, model: nn.Module, input_shape: tuple[int, int, int]) -> None:
        self.model = model
        self._graph = _trace(model, input_shape)
        self._names = {module: name for name, module in model.named_modules()}
        self._frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
        self.groups: tuple[ChannelGroup, ...]
        self.skipped: dict[str, str]
        """Layers whose channels stay, and why."""
        self.groups, self.skipped = self._collect()

    def remove(self, root: str, drop: Sequence[int]) -> None:
        """Cut the channels `drop` of the group of layer `root` out of every layer that carries them."""
        module = self.model.get_submodule(root)
        cut = self._graph.get_pruner_of_module(module).prune_out_channels
        # A group asked for exactly these indices: Group.prune(idxs) would record, and later replay, all of them.
        self._graph.get_pruning_group(module, cut, sorted(set(drop))).prune(record_history=False)
        for name in self._frozen:
            self.model.get_parameter(name).requires_grad_(False)  # what took its place is not

    def norm_behind(self, layer: str) -> _BatchNorm | None:
        """The BatchNorm that is all that takes a layer's output."""
        behind = [node.module for node in self._graph.module2node[self.model.get_submodule(layer)].outputs]
        return behind[0] if len(behind) == 1 and isinstance(behind[0], _BatchNorm) else None

    def _collect(self) -> tuple[tuple[ChannelGroup, ...], dict[str, str]]:
        groups: list[ChannelGroup] = []
        skipped: dict[str, str] = {}
        outputs = self._output_layers()
        for found in self._graph.get_all_groups(root_module_types=(_ConvNd, nn.Linear)):
            members = self._members(found)
            group = ChannelGroup(members[0].name, _width(members[0]), members)
            if outputs & {member.module for member in members if member.side != "in"}:
                skipped[group.root] = "its channels are the network's output"
            elif any(isinstance(item.dep.target.module, nn.Parameter) for item in found):
                skipped[group.root] = "a parameter outside of any known layer goes with its channels"
            elif obstacle := next(filter(None, map(_obstacle, members)), None):
                skipped[group.root] = obstacle
            elif group.size > 1:
                groups.append(group)
            else:
                skipped[group.root] = "it has one channel"
        return tuple(groups), skipped

    def _members(self, found: Any) -> tuple[Member, ...]:
        members = []
        for item in found:
            module, fn = item.dep.target.module, item.dep.handler
            if not isinstance(module, nn.Module) or module not in self._names:
                continue  # element-wise operations carry channels but have none of their own
            members.append(
                Member(
                    name=self._names[module],
                    module=module,
                    side=self._side(fn),
                    positions=torch.as_tensor(item.idxs),
                    channels=torch.as_tensor(item.root_idxs),
                    fed_by=self._feeder(module) if isinstance(module, Attention) else None,
                )
            )
        return tuple(members)

    def _side(self, fn: Any) -> Side:
        out, into = self._graph.is_out_channel_pruning_fn(fn), self._graph.is_in_channel_pruning_fn(fn)
        return "both" if out and into else "out" if out else "in"

    def _feeder(self, module: nn.Module) -> str | None:
        (source, *_) = self._graph.module2node[module].inputs
        return self._names.get(source.module)

    def _output_layers(self) -> set[nn.Module]:
        """Layers from which the output is reached without passing another convolution or linear layer."""
        waiting = [node for node in self._graph.module2node.values() if not node.outputs]
        found: set[nn.Module] = set()
        seen: set[Any] = set()
        while waiting:
            node = waiting.pop()
            if isinstance(node.module, _ConvNd | nn.Linear):
                found.add(node.module)
            elif node not in seen:
                seen.add(node)
                waiting.extend(node.inputs)
        return found


class _AttentionKnife(tp.BasePruningFunc):  # type: ignore[misc]
    """Hands a removal to the attention module itself. One function for in and out makes them one dimension."""

    TARGET_MODULES = Attention

    def prune_out_channels(self, layer: Attention, idxs: Sequence[int]) -> nn.Module:
        mask = torch.ones(layer.channels, dtype=torch.bool)
        mask[list(idxs)] = False
        device = next(chain(layer.parameters(), layer.buffers())).device
        layer.prune(mask.nonzero().flatten().to(device))
        return layer

    prune_in_channels = prune_out_channels

    def get_out_channels(self, layer: Attention) -> int:
        return layer.channels

    get_in_channels = get_out_channels


def _trace(model: nn.Module, input_shape: tuple[int, int, int]) -> Any:
    frozen = [parameter for parameter in model.parameters() if not parameter.requires_grad]
    kinds = {type(module) for module in model.modules() if isinstance(module, Attention)}
    parameter = next(model.parameters())
    try:
        model.requires_grad_(True)  # the library follows autograd: a frozen layer would be no node
        with modes_kept(model), opaque(), torch.enable_grad():
            return tp.DependencyGraph().build_dependency(
                model,
                example_inputs=torch.zeros(1, *input_shape, device=parameter.device, dtype=parameter.dtype),
                customized_pruners={kind: _AttentionKnife() for kind in kinds},
                ignored_layers=[],
                verbose=False,
            )
    except (RuntimeError, ValueError, IndexError, TypeError, AttributeError) as error:
        raise PruneError(f"this network cannot be traced: {error}") from error
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


def _width(member: Member) -> int:
    return len(set(member.channels.tolist()))


def _obstacle(member: Member) -> str | None:
    """Why a group with this layer stays whole: what it takes to cut it is not known here."""
    module = member.module
    if not isinstance(module, nn.Conv2d | nn.Linear | _BatchNorm | Attention):
        return f"{member.name} is a {type(module).__name__}, which cannot be cut"
    if isinstance(module, nn.Conv2d) and 1 < module.groups < module.out_channels:
        return f"{member.name} is a grouped convolution"
    return None
