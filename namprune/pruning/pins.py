"""Groups of channels whose share is given by name, in the place of the one that all others have together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from namprune.errors import PruneError
from namprune.nearest import did_you_mean
from namprune.pruning.graph import ChannelGraph


@dataclass(frozen=True)
class Pin:
    """What is said of one group."""

    share: float
    """Of its channels that goes; 0 = none."""
    why: str


def pinned(graph: ChannelGraph, *, ratios: Mapping[str, float], keep: Sequence[str]) -> dict[str, Pin]:
    """The groups that shell patterns name, by root: those of `keep` stay whole, those of `ratios` lose that share.

    A pattern means the groups of all layers that it matches by the channels that they give, not by those that they
    read: `stages.1.*` does not mean the group before that stage. The first pattern that matches holds, `keep` first.

    Raises:
        PruneError: a pattern matches no layer that has channels to give, or one of `ratios` only layers left alone.
    """
    pins = {pattern: Pin(0.0, f"prune.keep: {pattern}") for pattern in keep}
    pins |= {p: Pin(share, f"prune.ratios: {p} {share:g}") for p, share in ratios.items() if p not in pins}
    named = {group.root: [one.name for one in group.members if one.side != "in"] for group in graph.groups}
    known = {*graph.skipped}.union(*named.values())
    layers = [name for name, _ in graph.model.named_modules() if name in known]
    for pattern, pin in pins.items():
        if not _matched(pattern, layers):
            raise PruneError(
                f"{pin.why.partition(':')[0]}: no channels belong to {pattern!r}",
                hint=did_you_mean(pattern, layers),
            )
        if pin.share and not any(_matched(pattern, names) for names in named.values()):
            alone = next(name for name in layers if _matched(pattern, [name]))
            raise PruneError(
                f"prune.ratios: {pattern!r} names only what is left alone: {alone}: {graph.skipped[alone]}",
                hint="take the pattern out",
            )
    found: dict[str, Pin] = {}
    for pattern, pin in pins.items():
        for root, names in named.items():
            if _matched(pattern, names):
                found.setdefault(root, pin)
    return found


def _matched(pattern: str, names: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)
