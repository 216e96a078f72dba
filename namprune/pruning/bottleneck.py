"""Bottlenecks of attention modules that shrink in proportion to their channels.

A hidden dimension of h units behind an attention that goes from C to C' channels keeps max(4, ceil(h C' / C)) of
them, those with the largest scores.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from namprune.attention import LEAST_HIDDEN, Attention, Bottleneck
from namprune.choices import BottleneckRule
from namprune.errors import PruneError
from namprune.pruning.group import Cuts

WORTHWHILE = 0.05
"""Share of the network's parameters around hidden dimensions above which `auto` shrinks them."""


@dataclass(frozen=True, kw_only=True)
class BottleneckCut:
    """What happens to one hidden dimension of one attention."""

    layer: str
    """The attention."""
    name: str
    """Which of its hidden dimensions."""
    before: int
    kept: tuple[int, ...]
    """Indices that stay, ascending."""


def shrinks(model: nn.Module, rule: BottleneckRule) -> bool:
    """Whether the bottlenecks of a network are to shrink by a rule; `auto` weighs what is in them."""
    if rule != "auto":
        return rule == "shrink"
    attentions = [module for module in model.modules() if isinstance(module, Attention)]
    bottlenecks = [bottleneck for attention in attentions for bottleneck in attention.bottlenecks().values()]
    layers = {layer for hidden in bottlenecks for layer in (hidden.maker, hidden.norm, hidden.reader) if layer}
    around = sum(parameter.numel() for layer in layers for parameter in layer.parameters())
    return around > WORTHWHILE * sum(parameter.numel() for parameter in model.parameters())


def shrunk(cuts: Cuts) -> tuple[BottleneckCut, ...]:
    """What is left of every hidden dimension that gets narrower when each group keeps the given channels."""
    found = []
    for layer, (attention, keep) in narrowed(cuts).items():
        for name, bottleneck in attention.bottlenecks().items():
            before, width = bottleneck.units, hidden_width(bottleneck.units, attention.channels, len(keep))
            if width < before:
                kept = bottleneck.scores().argsort(stable=True)[before - width :].sort().values
                found.append(BottleneckCut(layer=layer, name=name, before=before, kept=tuple(kept.tolist())))
    return tuple(found)


def narrowed(cuts: Cuts) -> dict[str, tuple[Attention, Tensor]]:
    """The attentions that lose channels, by name, with the indices that they keep when each group keeps its own."""
    stays: dict[str, tuple[Attention, Tensor]] = {}
    for group, keep in cuts:
        goes = torch.ones(group.size, dtype=torch.bool)
        goes[keep] = False
        for member in group.attentions:
            attention = member.module
            assert isinstance(attention, Attention)  # noqa: S101 - `attentions` are
            mask = torch.ones(attention.channels, dtype=torch.bool)
            _, mask = stays.setdefault(member.name, (attention, mask))  # behind a concatenation it is in several groups
            mask[member.positions[goes[member.channels]]] = False
    return {name: (attention, mask.nonzero().flatten()) for name, (attention, mask) in stays.items() if not mask.all()}


def narrowed_copy(attention: Attention, keep: Tensor, *, shrinks: bool) -> Attention:
    """An attention, on the CPU, with only these channels; with `shrinks` its bottlenecks become as narrow."""
    copied = copy.deepcopy(attention).cpu()
    copied.prune(keep)
    for bottleneck in copied.bottlenecks().values() if shrinks else ():
        bottleneck.narrow(torch.arange(hidden_width(bottleneck.units, attention.channels, len(keep))))
    return copied


def hidden_width(units: int, channels: int, kept: int) -> int:
    """Units that stay of `units` when `kept` of `channels` do."""
    return min(units, max(LEAST_HIDDEN, -(-units * kept // channels)))


def chained(first: Sequence[BottleneckCut], second: Sequence[BottleneckCut]) -> tuple[BottleneckCut, ...]:
    """The cuts that do what `first` and then `second` do; PruneError if they do not follow each other."""
    cuts = {(cut.layer, cut.name): cut for cut in first}
    for cut in second:
        base = cuts.get((cut.layer, cut.name))
        if base is None:
            cuts[cut.layer, cut.name] = cut
        elif len(base.kept) == cut.before:
            kept = tuple(base.kept[index] for index in cut.kept)
            cuts[cut.layer, cut.name] = replace(base, kept=kept)
        else:
            raise PruneError(f"{cut.layer}.{cut.name}: the second plan was not made for what the first one leaves")
    return tuple(cuts.values())


def shrink(model: nn.Module, cuts: Sequence[BottleneckCut]) -> None:
    """Narrow the hidden dimensions of a network, in place."""
    for cut in cuts:
        bottleneck = located(model, cut)
        bottleneck.narrow(torch.tensor(cut.kept, device=bottleneck.maker.weight.device))


def located(model: nn.Module, cut: BottleneckCut) -> Bottleneck:
    """The hidden dimension that a cut is of; PruneError if the network has none of that name and width."""
    attention = dict(model.named_modules()).get(cut.layer)
    bottlenecks = attention.bottlenecks() if isinstance(attention, Attention) else {}
    if cut.name not in bottlenecks or bottlenecks[cut.name].units != cut.before:
        raise PruneError(f"the plan has {cut.before} units in {cut.layer}.{cut.name}, this network has not")
    return bottlenecks[cut.name]
