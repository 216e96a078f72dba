"""Remove channels, and prove at once that the network computes what it did with the channels at zero."""

import copy
import gc
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from namprune.attention import Attention
from namprune.errors import ProofError, PruneError
from namprune.pruning.bottleneck import BottleneckCut, located, shrink
from namprune.pruning.cut import GroupCut
from namprune.pruning.graph import ChannelGraph, ChannelGroup
from namprune.pruning.ranking import Shape

PROOF_TOLERANCE = 1e-9
"""Of the largest logit. Cut and proof are in float64, where rounding stays below 1e-11 in the deepest networks; a NAM
normaliser that is not kept was seen to leave 1e-6 at least, a wrong channel 1e-2 and more."""


def apply_cuts(
    model: nn.Module,
    cuts: Sequence[GroupCut],
    bottlenecks: Sequence[BottleneckCut],
    input_shape: Shape,
    *,
    pictures: Tensor | None = None,
    graph: ChannelGraph | None = None,
) -> float:
    """Cut `model` in place, and return the largest difference of its logits to the masked network's.

    The proof is made first, on a copy in float64, where rounding cannot hide a fault. It compares logits on noise and
    on `pictures` (N, C, H, W), if there are any.

    Raises:
        PruneError: the cuts are for another network.
        ProofError: the difference is more than rounding; the network is as it was.
    """
    noise = torch.randn(4, *input_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pictures = noise if pictures is None else torch.cat([noise, pictures.cpu().double()])
    difference = _prove(model, cuts, bottlenecks, input_shape, pictures)
    gc.collect()  # the trial's dependency graph is cyclic and holds its float64 copies until then
    if not difference <= PROOF_TOLERANCE:
        raise ProofError(
            f"this cut would change the network: logits differ by {difference:.1e} of the largest",
            hint="expected where an activation is not 0 at 0, such as a sigmoid; else please report it",
        )
    _cut(graph or ChannelGraph(model, input_shape), cuts, bottlenecks)
    return difference


def _prove(
    model: nn.Module,
    cuts: Sequence[GroupCut],
    bottlenecks: Sequence[BottleneckCut],
    input_shape: Shape,
    pictures: Tensor,
) -> float:
    """Largest difference between the cut and the masked network's logits, over the largest logit."""
    trial = copy.deepcopy(model).cpu().double().eval()
    graph = ChannelGraph(trial, input_shape)
    groups = {group.root: group for group in graph.groups}
    for cut in cuts:
        if cut.root not in groups or groups[cut.root].size != cut.before:
            raise PruneError(f"the plan has {cut.before} channels in {cut.root}, this network has not")
    dense = masked(trial, [(groups[cut.root], cut) for cut in cuts], bottlenecks)
    _cut(graph, cuts, bottlenecks)
    with torch.no_grad():
        expected, got = (network(pictures) for network in (dense, trial))
    largest = expected.abs().max().clamp_min(torch.finfo(torch.float64).tiny)  # a dead network says zero to all
    return float((got - expected).abs().max() / largest)


def _cut(graph: ChannelGraph, cuts: Sequence[GroupCut], bottlenecks: Sequence[BottleneckCut]) -> None:
    for cut in cuts:
        if cut.removed:
            graph.remove(cut.root, list(cut.removed))
    shrink(graph.model, bottlenecks)


@torch.no_grad()
def masked(
    model: nn.Module, cuts: Sequence[tuple[ChannelGroup, GroupCut]], bottlenecks: Sequence[BottleneckCut] = ()
) -> nn.Module:
    """A copy of the network, at full width, that gives zero on every channel and hidden unit that goes."""
    dense = copy.deepcopy(model)
    for hidden in bottlenecks:
        located(dense, hidden).mask(torch.tensor(hidden.kept))
    for group, cut in cuts:
        goes = torch.zeros(group.size, dtype=torch.bool)
        goes[list(cut.removed)] = True
        kept = torch.tensor(cut.kept)
        for member in group.attentions:
            layer = dense.get_submodule(member.name)
            assert isinstance(layer, Attention)  # noqa: S101 - the copy of one
            layer.mask(kept)
        for member in (*group.makers, *group.norms):
            positions = member.positions[goes[member.channels]]
            layer = dense.get_submodule(member.name)
            for parameter in layer.parameters(recurse=False):
                parameter[positions.to(parameter.device)] = 0  # rows of a weight, entries of γ, β and biases
    return dense
