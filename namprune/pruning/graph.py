"""The channel groups of a network."""

from collections.abc import Iterable, Iterator

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from namprune.attention import Attention
from namprune.pruning.group import ChannelGroup, Member
from namprune.pruning.layers import block, width
from namprune.pruning.reach import Reach
from namprune.pruning.silence import heard
from namprune.pruning.trace import Node, trace


class ChannelGraph:
    """The channel groups of one network, as it is before a removal."""

    def __init__(self, model: nn.Module, input_shape: tuple[int, int, int]) -> None:
        self.model = model
        self._names = {module: name for name, module in model.named_modules()}
        found = trace(model, input_shape)
        self._ahead = {node.module: [target.module for target, _ in node.ahead] for node in found.nodes}
        groups, skipped = self._collect(found.nodes)
        loud = heard(model, groups, input_shape)
        self.groups: tuple[ChannelGroup, ...] = tuple(group for group in groups if group.root not in loud)
        self.skipped: dict[str, str] = skipped | found.skipped | loud
        """Layers whose channels stay, and why."""

    def norm_behind(self, layer: str) -> _BatchNorm | None:
        """The BatchNorm that is all that takes a layer's output."""
        behind = self._ahead.get(self.model.get_submodule(layer), [])
        return behind[0] if len(behind) == 1 and isinstance(behind[0], _BatchNorm) else None

    def _collect(self, nodes: Iterable[Node]) -> tuple[list[ChannelGroup], dict[str, str]]:
        groups: list[ChannelGroup] = []
        skipped: dict[str, str] = {}
        seen: set[nn.Module] = set()
        for node in sorted(nodes, key=_blocks_first):
            if not isinstance(node.module, nn.Conv2d | nn.Linear) or node.module in seen:
                continue
            root, reach = self._names[node.module], Reach(node)
            seen |= {there.module for there, side in reach.places if side != "in" and there.module is not None}
            units = reach.units()
            if why := reach.obstacle(self._names, units):
                skipped[root] = why
            else:
                groups.append(ChannelGroup(root, reach.size, tuple(self._members(reach)), units))
        return groups, skipped

    def _members(self, reach: Reach) -> Iterator[Member]:
        for (node, side), places in reach.places.items():
            if node.module is not None:
                feeder = node.behind[0][0].module if isinstance(node.module, Attention) else None
                yield Member(
                    name=self._names[node.module],
                    module=node.module,
                    side=side,
                    positions=torch.tensor([*places]),
                    channels=torch.tensor([*places.values()]),
                    fed_by=None if feeder is None else self._names[feeder],
                )


def _blocks_first(node: Node) -> int:
    """A group of a grouped convolution may hold channels of several layers: from there all of them are found."""
    return -width(node.module, "out") if node.module is not None and block(node.module) > 1 else 0
