"""One cut of a run's network: decided, compensated for, proven, made, and recorded."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice

from torch import nn

from namprune import console
from namprune.data import Batch, Data
from namprune.pruning import ChannelGraph, PruningPlan, compensate, compose, make_plan, needs_batches
from namprune.pruning.measured import LATENCY_TOLERANCE
from namprune.pruning.target import TOLERANCE
from namprune.recipe.schema import PruneSection, Recipe
from namprune.result import Cut
from namprune.runs import RunFolder
from namprune.stages.goal import build_goal, multiple
from namprune.stages.sensitivity import sensitivity_of
from namprune.table import quantity, worded

PROOF_PICTURES = 8


@dataclass(frozen=True)
class Planned:
    """A cut that is decided, and the trace of the network that it is of."""

    graph: ChannelGraph
    plan: PruningPlan


def reads_pictures(section: PruneSection) -> bool:
    """Whether deciding takes pictures."""
    return needs_batches(section.criterion) or section.max_drop is not None or section.scope == "sensitivity"


def plan_cut(
    model: nn.Module,
    data: Data | None,
    recipe: Recipe,
    parent: RunFolder,
    *,
    input_shape: tuple[int, int, int],
    dense: nn.Module | None = None,
    after: PruningPlan | None = None,
    cuts: int = 1,
    nearest: bool = False,
) -> Planned:
    """What a recipe removes from a network, on its device, or the next of so many cuts that remove it together.

    Those before it were `after`, of the network `dense`, which all that is asked for is measured by. `data` is only
    for what `reads_pictures`; trials of a sensitivity are kept with the run `parent`. `nearest` as in `make_plan`.
    """
    section = recipe.prune
    with console.status("tracing the network"):
        graph = ChannelGraph(model, input_shape)
    with console.status("planning the cut"), _to_score(data, recipe) as batches:
        plan = make_plan(
            graph,
            input_shape,
            ratio=section.ratio,
            target_macs=section.target_macs,
            target=build_goal(model, recipe, input_shape, data, dense=dense),
            criterion=section.criterion,
            scope=section.scope,
            floor=section.floor,
            round_to=multiple(section, next(model.parameters()).device),
            bottlenecks=section.bottlenecks,
            seed=recipe.seed,
            batches=batches,
            sensitivity=sensitivity_of(model, data, recipe, parent)
            if data and section.scope == "sensitivity"
            else None,
            ratios=section.ratios,
            keep=section.keep,
            after=after,
            cuts=cuts,
            nearest=nearest,
        )
    console.detail(
        f"planned by {plan.criterion}: {len(plan.groups)} groups, {plan.channels_before} channels become "
        f"{plan.channels_after}, {quantity(plan.macs_before)} MACs become {quantity(plan.macs_after)}"
    )
    return Planned(graph, plan)


@contextmanager
def _to_score(data: Data | None, recipe: Recipe) -> Iterator[Iterator[Batch] | None]:
    """The training batches that the criterion looks at, if it looks at any."""
    if data is None or not needs_batches(recipe.prune.criterion):
        yield None
        return
    shuffled = data.train.shuffled(batch_size=recipe.finetune.batch_size, seed=recipe.seed, epoch=0)
    batches = islice(shuffled, recipe.prune.score_batches)
    with console.watched(batches, recipe.prune.score_batches, f"scoring by {recipe.prune.criterion}") as steps:
        yield steps


def make_cut(planned: Planned, data: Data, *, batches: int, batch_size: int, seed: int) -> float:
    """Cut the network of a plan in place, and return the proof.

    So many training batches say what the removed channels delivered on average, and what read them takes that up:
    before the cut, which carries it over, because the weights that tell how much are those that go.
    """
    if batches:
        order = data.train.shuffled(batch_size=batch_size, seed=seed, epoch=0)
        with console.watched(order, batches, "compensation") as steps:
            left = compensate(planned.graph, planned.plan, steps, limit=batches)
        for layer in left:
            console.warn(f"not compensated: {layer}: it has no bias, and its output goes elsewhere than to a BatchNorm")
    pictures, _ = next(iter(data.val.ordered(batch_size=PROOF_PICTURES)))
    with console.status("cutting"):
        proof = planned.plan.apply(planned.graph.model, pictures=pictures, graph=planned.graph)
    console.message(f"proof: pruned and masked network agree to {proof:.1e} of the largest logit")
    return proof


def joined(earlier: PruningPlan | None, plan: PruningPlan) -> PruningPlan:
    """All cuts so far as one, with what the last one was asked for, which counts from before the first."""
    if earlier is None:
        return plan
    return replace(compose(earlier, plan), ratio=plan.ratio, target_macs=plan.target_macs, target=plan.target)


def say_signal(plan: PruningPlan, section: PruneSection) -> None:
    """Before a cut: what it reaches, was sparsity training enough, and what was left alone."""
    if plan.target is not None:
        reached = worded(plan.target.reached, plan.target.unit)
        console.message(f"{plan.target.key}: {plan.target.words} was asked, this cut comes to {reached}")
    removed = 1 - plan.channels_after / plan.channels_before
    signal = (
        f"{plan.near_zero:.0%} of the channels have factors near zero, {removed:.0%} are to go; "
        f"of these {plan.near_zero_removed:.0%} are near zero"
    )
    if plan.near_zero_removed > 0.95:
        console.message(f"{signal}: recalibration should restore most of what the cut costs")
    else:
        console.warn(f"{signal}: the others carry what fine-tuning must restore (see sparsity.l1_gamma)")
    if section.ratio and section.apart:
        console.message(f"prune.ratio {section.ratio:g} is of the layers that prune.ratios and prune.keep do not name")
    elif section.ratio and section.steps == 1 and abs(removed - plan.ratio) > 0.005:
        console.warn(
            f"floor {plan.floor:g} and round_to {plan.round_to} allow {removed:.1%} of the channels to go, "
            f"not {plan.ratio:.1%}"
        )
    for layer, reason in plan.skipped.items():
        console.message(f"left alone: {layer}: {reason}")


def say_reached(plan: PruningPlan, section: PruneSection) -> None:
    """After the last of several cuts, all as one: what was asked for and what they come to, a warning if it is off."""
    if plan.target is not None:
        asked, came, unit = plan.target.asked, plan.target.reached, plan.target.unit
    elif plan.target_macs is not None:
        asked, came, unit = plan.target_macs, plan.macs_after / plan.macs_before, "x MACs"
    elif section.apart:
        return  # the ratio is not of all channels
    else:
        asked, came, unit = plan.ratio, 1 - plan.channels_after / plan.channels_before, " of the channels"
    tolerance = LATENCY_TOLERANCE if section.target_latency else TOLERANCE
    say = console.message if abs(came - asked) <= tolerance * asked else console.warn
    say(f"{worded(asked, unit)} was asked, {section.steps} cuts come to {worded(came, unit)}")


def cut_record(plan: PruningPlan, proof: float, *, steps: int = 1, every: int = 0, apart: bool = False) -> Cut:
    """What a run's result says of its cuts: how many they were, or the epochs between those that training made."""
    return Cut(
        ratio=plan.ratio,
        target_macs=plan.target_macs,
        target=plan.target,
        steps=steps,
        every=every,
        apart=apart,
        criterion=plan.criterion,
        scope=plan.scope,
        round_to=plan.round_to,
        channels_before=plan.channels_before,
        channels_after=plan.channels_after,
        near_zero=plan.near_zero,
        near_zero_removed=plan.near_zero_removed,
        proof=proof,
        skipped=plan.skipped,
    )
