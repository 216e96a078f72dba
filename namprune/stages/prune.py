"""Prune the network of a run: rank, remove, prove, recalibrate, fine-tune, measure."""

import copy
import time
from dataclasses import dataclass
from itertools import islice

import torch
from torch import nn

from namprune import console
from namprune.checkpoint import to_bytes
from namprune.data import Data, build_data
from namprune.device import describe_environment, pick_device
from namprune.models import build_model
from namprune.pruning import ChannelGraph, PruningPlan, compensate, make_plan, needs_batches, recalibrate
from namprune.recipe import dump_recipe, recipe_digest
from namprune.recipe.schema import Recipe
from namprune.result import Cut, Measurement, RunResult
from namprune.runs import RunFolder, RunStore
from namprune.stages.goal import build_goal, multiple
from namprune.stages.logbook import follow
from namprune.stages.network import (
    check_batch,
    check_fits,
    describe_attention,
    mean_speed,
    measured,
    open_network,
    placed,
    timings,
    utc_now,
)
from namprune.table import worded
from namprune.training import build_training

PROOF_PICTURES = 8


@dataclass(frozen=True)
class _Planned:
    model: nn.Module
    graph: ChannelGraph
    plan: PruningPlan
    parent: RunResult
    data: Data | None
    """Where planning had to read it."""


def plan(parent: RunFolder, recipe: Recipe) -> PruningPlan:
    """What `prune` would remove from a run's network. Writes no run; reads data only if criterion or target need it."""
    return _plan(parent, recipe).plan


def prune(parent: RunFolder, recipe: Recipe, *, store: RunStore, name: str | None = None) -> RunResult:
    """Prune a run by a recipe (its own, with other `prune` and `finetune` sections), into a run of its own.

    Raises:
        RunError: the parent is broken, or the name is taken or no name.
        PruneError: nothing can be removed as asked.
        DataError: the pictures are missing, or not the parent's.
        ProofError: the cut network does not compute what the masked one does; nothing has been written.
    """
    started = time.perf_counter()
    name = store.unused(name) if name else store.free_name(f"{parent.name}-{recipe.prune.tag}")
    planned = _plan(parent, recipe)
    model, the_plan = planned.model, planned.plan
    device = pick_device(recipe.runtime.device)
    data = planned.data or _pictures_of(planned.parent, recipe, device)
    if recipe.finetune.epochs or recipe.prune.recalibrate or recipe.prune.compensate:
        check_batch(data, batch_size=recipe.finetune.batch_size, section="finetune")
    teacher = placed(copy.deepcopy(model), recipe, device) if recipe.finetune.distill else None
    _compensate(planned, data, recipe, device)
    pictures, _ = next(iter(data.val.ordered(batch_size=PROOF_PICTURES)))
    proof = the_plan.apply(model, pictures=pictures, graph=planned.graph)
    console.message(f"proof: pruned and masked network agree to {proof:.1e} of the largest logit")
    run = store.create(name, recipe=dump_recipe(recipe))
    run.write(run.plan, the_plan.to_json())
    model = placed(model, recipe, device)
    stages, epochs, speed = _repair(model, data, recipe, run, teacher=teacher)
    run.write(run.weights, to_bytes(model))
    # The dense network only has to take the time it takes: its weights do not matter.
    dense = placed(build_model(recipe, classes=len(data.classes), input_shape=data.input_shape), recipe, device)
    return run.finish(
        RunResult(
            name=run.name,
            kind="prune",
            created=utc_now(),
            parent=parent.name,
            dense=planned.parent.dense or parent.name,
            dense_weights=planned.parent.dense_weights or planned.parent.files[parent.weights.name],
            model=recipe.model.name,
            attention=describe_attention(recipe),
            data=data.label,
            classes=data.classes,
            input_shape=data.input_shape,
            seed=recipe.seed,
            recipe_digest=recipe_digest(recipe, kind="prune"),
            data_digest=data.digest,
            files={},
            environment=describe_environment(device),
            stages=(planned.parent.final, *stages),
            cut=_cut(the_plan, proof),
            latency=timings(model, recipe, data.input_shape, dense=dense),
            epochs=epochs,
            seconds=time.perf_counter() - started,
            images_per_second=speed,
        )
    )


def _plan(parent: RunFolder, recipe: Recipe) -> _Planned:
    model, result = open_network(parent, recipe)
    section, data, batches = recipe.prune, None, None
    device = pick_device(recipe.runtime.device)
    if needs_batches(section.criterion) or section.target_latency is not None or section.max_drop is not None:
        model = placed(model, recipe, device)
    if needs_batches(section.criterion) or section.max_drop is not None:
        data = _pictures_of(result, recipe, device)
        check_batch(data, batch_size=recipe.finetune.batch_size, section="finetune")
    if data is not None and needs_batches(section.criterion):
        shuffled = data.train.shuffled(batch_size=recipe.finetune.batch_size, seed=recipe.seed, epoch=0)
        batches = islice(shuffled, section.score_batches)
    graph = ChannelGraph(model, result.input_shape)
    made = make_plan(
        graph,
        result.input_shape,
        ratio=section.ratio,
        target_macs=section.target_macs,
        target=build_goal(model, recipe, result.input_shape, data),
        criterion=section.criterion,
        scope=section.scope,
        floor=section.floor,
        round_to=multiple(section, device),
        bottlenecks=section.bottlenecks,
        seed=recipe.seed,
        batches=batches,
    )
    _say_signal(made)
    return _Planned(model, graph, made, result, data)


def _pictures_of(parent: RunResult, recipe: Recipe, device: torch.device) -> Data:
    """What a run was trained on; DataError if the recipe's data is something else."""
    data = build_data(recipe.data, device=device, channels_last=recipe.runtime.channels_last)
    check_fits(data, parent)
    return data


def _say_signal(plan: PruningPlan) -> None:
    """Before the cut: what it reaches, was sparsity training enough, and what was left alone."""
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
    if plan.target is None and plan.target_macs is None and abs(removed - plan.ratio) > 0.005:
        console.warn(
            f"floor {plan.floor:g} and round_to {plan.round_to} allow {removed:.1%} of the channels to go, "
            f"not {plan.ratio:.1%}"
        )
    for layer, reason in plan.skipped.items():
        console.message(f"left alone: {layer}: {reason}")


def _compensate(planned: _Planned, data: Data, recipe: Recipe, device: torch.device) -> None:
    """Before the cut, which carries it over: the weights that tell how much to shift are those that go."""
    if not recipe.prune.compensate:
        return
    planned.model.to(device)
    batches = data.train.shuffled(batch_size=recipe.finetune.batch_size, seed=recipe.seed, epoch=0)
    for layer in compensate(planned.graph, planned.plan, batches, limit=recipe.prune.compensate):
        console.warn(f"not compensated: {layer}: it has no bias, and its output goes elsewhere than to a BatchNorm")


def _repair(
    model: nn.Module, data: Data, recipe: Recipe, run: RunFolder, *, teacher: nn.Module | None
) -> tuple[list[Measurement], int, float]:
    """Recalibrate and fine-tune in place: the measurements, the epochs and the pictures per second."""
    section, finetune = recipe.prune, recipe.finetune
    end = "finetuned" if finetune.epochs else "recalibrated" if section.recalibrate else "pruned"
    stages = [measured(model, data, recipe, stage="pruned", test=end == "pruned")]
    if section.recalibrate:
        batches = data.train.shuffled(batch_size=finetune.batch_size, seed=recipe.seed, epoch=0)
        recalibrate(model, batches, limit=section.recalibrate)
        stages.append(measured(model, data, recipe, stage="recalibrated", test=end == "recalibrated"))
    console.message("validation top-1: " + ", ".join(f"{stage.stage} {stage.val.top1:.2%}" for stage in stages))
    if not finetune.epochs:
        return stages, 0, 0.0
    steps = len(data.train) // finetune.batch_size
    records = follow(
        build_training(model, data, recipe, phase="finetune", teacher=teacher),
        run,
        description="finetune",
        steps=steps * finetune.epochs,
    )
    return (
        [*stages, measured(model, data, recipe, stage="finetuned", test=True)],
        len(records),
        mean_speed(records),
    )


def _cut(plan: PruningPlan, proof: float) -> Cut:
    return Cut(
        ratio=plan.ratio,
        target_macs=plan.target_macs,
        target=plan.target,
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
