"""How far the channels of one layer reach: followed ahead and back through the graph of a network."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from namprune.pruning.carried import Places
from namprune.pruning.layers import Side, block, goes_both_ways, width
from namprune.pruning.trace import Node


class Reach:
    """Where the channels of one layer are found in a network.

    The search ends: a node is entered again only for places that it did not have, and none lies outside of the widths
    that were seen.
    """

    def __init__(self, root: Node) -> None:
        assert root.module is not None  # noqa: S101 - a layer
        self.size = width(root.module, "out")
        self.places: dict[tuple[Node, Side], dict[int, int]] = {}
        """The channel at each place of a side of a node."""
        self._joined: list[tuple[int, int]] = []
        """Channels that share a place, and so go together."""
        self._lost: list[nn.Module] = []
        """Layers that have no such place."""
        waiting: list[tuple[Node, Side, Places]] = [(root, _side(root, "out"), [(at, at) for at in range(self.size)])]
        while waiting:
            node, side, places = waiting.pop()
            fresh = self._add(node, side, places) if places else places
            if fresh and side != "in":
                waiting += ((to, _side(to, "in"), move.ahead(fresh) if move else fresh) for to, move in node.ahead)
            if fresh and side != "out":
                waiting += ((to, _side(to, "out"), move.back(fresh) if move else fresh) for to, move in node.behind)

    def _add(self, node: Node, side: Side, places: Places) -> Places:
        """Those of the places that are new there."""
        here = self.places.setdefault((node, side), {})
        fresh = []
        for place, channel in places:
            if place not in here:
                here[place] = channel
                fresh.append((place, channel))
            elif here[place] != channel:
                self._joined.append((here[place], channel))
        if node.module is not None and fresh and max(fresh)[0] >= width(node.module, side):
            self._lost.append(node.module)
            return []
        return fresh

    def units(self) -> Tensor:
        """The unit of each channel, counted in the order of the channels: which of them go at once. (size,)."""
        first = list(range(self.size))  # another of its unit, or itself

        def find(channel: int) -> int:
            while first[channel] != channel:
                first[channel] = channel = first[first[channel]]
            return channel

        for one, other in (*self._joined, *self._blocks()):
            low, high = sorted((find(one), find(other)))
            first[high] = low
        heads = [find(channel) for channel in range(self.size)]
        numbers = {head: number for number, head in enumerate(sorted(set(heads)))}
        return torch.tensor([numbers[head] for head in heads])

    def _blocks(self) -> Iterator[tuple[int, int]]:
        """Pairs of channels that are in one group of a grouped convolution."""
        for _, size, here in self._grouped():
            for place, channel in here.items():
                yield here.get(place - place % size, channel), channel

    def _grouped(self) -> Iterator[tuple[nn.Module, int, Mapping[int, int]]]:
        """Grouped convolutions, how many channels go at once there, and where which channel is."""
        for (node, _), here in self.places.items():
            if node.module is not None and (size := block(node.module)) > 1:
                yield node.module, size, here

    def obstacle(self, names: Mapping[nn.Module, str], units: Tensor) -> str | None:
        """Why the channels stay."""
        if why := next((node.end for node, _ in self.places if node.end), None):
            return why
        if self._lost:
            return f"its channels cannot be followed to {names[self._lost[0]]}"
        if self.size == 1:
            return "it has one channel"
        for module, size, here in self._grouped():
            if any(count < size for count in Counter(place // size for place in here).values()):
                return f"the groups of {names[module]} hold channels of several layers"
        sizes = units.bincount()
        if len(sizes) == 1:
            return "its channels only go all at once"
        return None if bool((sizes == sizes[0]).all()) else "its channels go at once in unequal numbers"


def _side(node: Node, end: Literal["in", "out"]) -> Side:
    return "both" if node.module is None or goes_both_ways(node.module) else end
