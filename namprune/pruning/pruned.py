"""The whole of it for a network in memory: rank, plan, remove, prove."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from namprune.choices import BottleneckRule, Scope
from namprune.data.images import Batch
from namprune.pruning.graph import ChannelGraph
from namprune.pruning.importance import Criterion
from namprune.pruning.plan import PruningPlan
from namprune.pruning.planning import make_plan
from namprune.pruning.sensitivity import Sensitivity
from namprune.pruning.target import Goal


@dataclass(frozen=True)
class PrunedModel:
    """A network that lost channels, and how."""

    model: nn.Module
    plan: PruningPlan
    """Carries the same removal over to any other copy (`apply`) or to a file (`to_json`)."""
    proof: float
    """Largest difference of its outputs to those of the masked network, as a share of the largest value of each."""

    def __repr__(self) -> str:
        """In a line: `model` prints its layers."""
        return f"PrunedModel({type(self.model).__name__}, {self.plan}, proof {self.proof:.1e})"


def prune_model(
    model: nn.Module,
    example_inputs: Tensor,
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
    sensitivity: Sensitivity | None = None,
    ratios: Mapping[str, float] | None = None,
    keep: Sequence[str] = (),
) -> PrunedModel:
    """A narrower copy of a network, proven to compute what the network does with the same channels at zero.

    `example_inputs` (N, C, H, W) give the shape of a picture, and the proof looks at them beside noise. One of `ratio`,
    `target_macs` and `target` says how much goes, `criterion`, with `batches`, what goes, and `ratios` and `keep` what
    goes of some layers in any case, as in `make_plan`.

    Any network of convolutions, linear layers and BatchNorms will do, whatever else is in it: what is not known to
    hand each channel on as one channel keeps all that it reads (`PrunedModel.plan.skipped` says why, by layer). It may
    return a tensor, or tensors in tuples, lists and dictionaries. None of these loses a channel, so the backbone of a
    detector can be cut alone and put back: `detector.backbone = prune_model(detector.backbone, pictures).model`.

    Raises:
        PruneError: the network does not run on such pictures, nothing can be removed, the target cannot be met, or a
            pattern names nothing.
        ProofError: the cut network does not compute what the masked one does.
        ValueError: the example is no batch of pictures, or not one aim is given.
    """
    if example_inputs.dim() != 4 or len(example_inputs) == 0:
        raise ValueError(f"example_inputs must be pictures (N, C, H, W), not of shape {tuple(example_inputs.shape)}")
    _, channels, height, width = example_inputs.shape
    model = copy.deepcopy(model)
    graph = ChannelGraph(model, (channels, height, width))
    plan = make_plan(
        graph,
        (channels, height, width),
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
        sensitivity=sensitivity,
        ratios=ratios,
        keep=keep,
    )
    return PrunedModel(model, plan, plan.apply(model, pictures=example_inputs, graph=graph))
