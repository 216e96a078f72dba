"""Carry out a plan, and prove at once that the network computes what it did with the channels at zero."""

import copy
import gc
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from namprune.attention import Attention
from namprune.choices import BottleneckRule, Scope
from namprune.data.images import Batch
from namprune.errors import ProofError, PruneError
from namprune.pruning.bottleneck import BottleneckCut, located, shrink
from namprune.pruning.graph import ChannelGraph, ChannelGroup
from namprune.pruning.importance import Criterion
from namprune.pruning.plan import GroupCut, PruningPlan, make_plan
from namprune.pruning.ranking import Shape
from namprune.pruning.target import Goal

PROOF_TOLERANCE = 1e-9
"""Of the largest logit. Cut and proof are in float64, where rounding stays below 1e-11 in the deepest networks; a NAM
normaliser that is not kept was seen to leave 1e-6 at least, a wrong channel 1e-2 and more."""


def prune_model(
    model: nn.Module,
    input_shape: Shape,
    *,
    ratio: float | None = None,
    target_macs: float | None = None,
    target: Goal | None = None,
    criterion: Criterion = "nam",
    scope: Scope = "global",
    floor: float = 0.1,
    round_to: int = 1,
    bottlenecks: BottleneckRule = "auto",
    seed: int = 0,
    batches: Iterable[Batch] | None = None,
    pictures: Tensor | None = None,
) -> tuple[PruningPlan, float]:
    """Rank, remove and prove, in place. Returns the plan and the proof's relative difference.

    One of `ratio`, `target_macs` and `target` says how much goes, and `criterion`, with `batches`, what goes, as in
    `make_plan`. `pictures` (N, C, H, W) are those that the proof compares logits on; noise if there are none. The
    parameters of the network are new objects afterwards: build its optimizer after the cut.

    Raises:
        PruneError: the network cannot be traced, nothing can be removed, or the target cannot be met.
        ProofError: the cut network does not compute what the masked one does.
    """
    graph = ChannelGraph(model, input_shape)
    plan = make_plan(
        graph,
        input_shape,
        ratio=ratio,
        target_macs=target_macs,
        target=target,
        criterion=criterion,
        scope=scope,
        floor=floor,
        round_to=round_to,
        bottlenecks=bottlenecks,
        seed=seed,
        batches=batches,
    )
    if pictures is None:
        pictures = torch.randn(4, *input_shape, generator=torch.Generator().manual_seed(0))
    return plan, apply_plan(model, plan, input_shape, pictures=pictures, graph=graph)


def apply_plan(
    model: nn.Module, plan: PruningPlan, input_shape: Shape, *, pictures: Tensor, graph: ChannelGraph | None = None
) -> float:
    """Cut `model` by a plan, in place, and return the largest difference of its logits to the masked network's.

    The proof is made first, on a copy in float64, where rounding cannot hide a fault.

    Raises:
        PruneError: the plan was made for another network.
        ProofError: the difference is more than rounding; the network is as it was.
    """
    difference = _prove(model, plan, input_shape, pictures)
    gc.collect()  # the trial's dependency graph is cyclic and holds its float64 copies until then
    if not difference <= PROOF_TOLERANCE:
        raise ProofError(
            f"this cut would change the network: logits differ by {difference:.1e} of the largest",
            hint="expected where an activation is not 0 at 0, such as a sigmoid; else please report it",
        )
    _cut(graph or ChannelGraph(model, input_shape), plan)
    return difference


def _prove(model: nn.Module, plan: PruningPlan, input_shape: Shape, pictures: Tensor) -> float:
    """Largest difference between the cut and the masked network's logits, over the largest logit."""
    trial = copy.deepcopy(model).cpu().double().eval()
    graph = ChannelGraph(trial, input_shape)
    groups = {group.root: group for group in graph.groups}
    for cut in plan.groups:
        if cut.root not in groups or groups[cut.root].size != cut.before:
            raise PruneError(f"the plan has {cut.before} channels in {cut.root}, this network has not")
    dense = masked(trial, [(groups[cut.root], cut) for cut in plan.groups], plan.bottlenecks)
    _cut(graph, plan)
    with torch.no_grad():
        expected, got = (network(pictures.cpu().double()) for network in (dense, trial))
    return float((got - expected).abs().max() / expected.abs().max())


def _cut(graph: ChannelGraph, plan: PruningPlan) -> None:
    for cut in plan.groups:
        if dropped := removed(cut):
            graph.remove(cut.root, dropped)
    shrink(graph.model, plan.bottlenecks)


def removed(cut: GroupCut) -> list[int]:
    """Indices that go, ascending."""
    return sorted(set(range(cut.before)) - set(cut.kept))


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
        goes[removed(cut)] = True
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
