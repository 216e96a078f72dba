"""Remove channels, and prove at once that the network computes what it did with the channels at zero."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from namprune.attention import Attention
from namprune.errors import ProofError, PruneError
from namprune.pruning.bottleneck import BottleneckCut, located, narrowed, shrink
from namprune.pruning.cut import GroupCut
from namprune.pruning.graph import ChannelGraph
from namprune.pruning.group import Cuts
from namprune.pruning.knife import remove
from namprune.pruning.ranking import Shape
from namprune.pruning.trace import FAULTS

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
    """Cut `model` in place, and return the largest difference of its outputs to the masked network's.

    The proof is made first, on a copy in float64, where rounding cannot hide a fault. It compares all outputs on noise
    and on `pictures` (N, C, H, W), if there are any.

    Raises:
        PruneError: the cuts are for another network.
        ProofError: the difference is more than rounding, or the cut network does not run; the network is as it was.
    """
    noise = torch.randn(4, *input_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pictures = noise if pictures is None else torch.cat([noise, pictures.cpu().double()])
    kept = _located(graph or ChannelGraph(model, input_shape), cuts)
    difference = _prove(model, kept, bottlenecks, pictures)
    if not difference <= PROOF_TOLERANCE:
        raise ProofError(
            f"this cut would change the network: logits differ by {difference:.1e} of the largest",
            hint="please report it; prune.keep leaves layers alone by name",
        )
    remove(model, kept)
    shrink(model, bottlenecks)
    return difference


def _located(graph: ChannelGraph, cuts: Sequence[GroupCut]) -> Cuts:
    groups = {group.root: group for group in graph.groups}
    for cut in cuts:
        if cut.root not in groups or groups[cut.root].size != cut.before:
            raise PruneError(f"the plan has {cut.before} channels in {cut.root}, this network has not")
    return [(groups[cut.root], torch.tensor(cut.kept)) for cut in cuts]


@torch.no_grad()
def _prove(model: nn.Module, cuts: Cuts, bottlenecks: Sequence[BottleneckCut], pictures: Tensor) -> float:
    """Largest difference between the cut and the masked network's outputs, over the largest value of each."""
    trial = copy.deepcopy(model).cpu().double().eval()
    with masked(trial, cuts, bottlenecks):
        expected = _outputs(trial, pictures)
    try:
        remove(trial, cuts)
        shrink(trial, bottlenecks)
        got = _outputs(trial, pictures)
    except FAULTS as error:
        raise ProofError(
            f"the cut network does not run: {str(error).splitlines()[0]}",
            hint="code that counts on a number of channels reads them; leave the layer alone by prune.keep",
        ) from error
    if [one.shape for one in expected] != [one.shape for one in got]:
        return torch.inf
    return max(map(_difference, expected, got), default=0.0)


def _outputs(network: nn.Module, pictures: Tensor) -> list[Tensor]:
    """Every tensor that a network returns, one beside the other for all pictures.

    They go through one by one: a convolution in float64 unfolds all that it is given, which is gigabytes.
    """
    each = [tree_leaves(network(picture)) for picture in torch.split(pictures, 1)]
    return [torch.stack(same) for same in zip(*each, strict=True) if _is_floating(same[0])]


def _is_floating(leaf: object) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point()


def _difference(expected: Tensor, got: Tensor) -> float:
    largest = expected.abs().max().clamp_min(torch.finfo(expected.dtype).tiny)  # a dead network says zero to all
    return float((got - expected).abs().max() / largest)


@contextmanager
def masked(model: nn.Module, cuts: Cuts, bottlenecks: Sequence[BottleneckCut] = ()) -> Iterator[None]:
    """Within it the network gives, at full width, zero on every channel and hidden unit that goes.

    Afterwards its attentions are as they were, and the rows of other layers that go with the channels are zero.
    """
    attentions = {name: module for name, module in model.named_modules() if isinstance(module, Attention)}
    for name, attention in attentions.items():
        model.set_submodule(name, copy.deepcopy(attention))
    for hidden in bottlenecks:
        located(model, hidden).mask(torch.tensor(hidden.kept))
    for name, (_, keep) in narrowed(cuts).items():
        layer = model.get_submodule(name)
        assert isinstance(layer, Attention)  # noqa: S101 - the copy of one
        layer.mask(keep)
    for group, keep in cuts:
        goes = torch.ones(group.size, dtype=torch.bool)
        goes[keep] = False
        for member, rows in group.rows(goes):
            for parameter in model.get_submodule(member.name).parameters(recurse=False):
                parameter[rows.to(parameter.device)] = 0  # rows of a weight, entries of γ, β and biases
    try:
        yield
    finally:
        for name, attention in attentions.items():
            model.set_submodule(name, attention)
