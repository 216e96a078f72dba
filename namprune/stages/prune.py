"""Prune the network of a run: rank, remove, prove, recalibrate, fine-tune, measure."""

import time
from dataclasses import dataclass

from torch import nn

from namprune import console
from namprune.checkpoint import to_bytes
from namprune.data import Data, build_data
from namprune.device import describe_environment, pick_device
from namprune.models import build_model
from namprune.pruning import ChannelGraph, PruningPlan, apply_plan, make_plan, recalibrate
from namprune.recipe import dump_recipe, recipe_digest
from namprune.recipe.schema import Recipe
from namprune.result import Cut, Measurement, RunResult
from namprune.runs import RunFolder, RunStore
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
from namprune.training import build_training

PROOF_PICTURES = 8


@dataclass(frozen=True)
class _Planned:
    model: nn.Module
    graph: ChannelGraph
    plan: PruningPlan
    parent: RunResult


def plan(parent: RunFolder, recipe: Recipe) -> PruningPlan:
    """What `prune` would remove from a run's network. Reads no data, writes nothing."""
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
    data = build_data(recipe.data, device=device, channels_last=recipe.runtime.channels_last)
    check_fits(data, planned.parent)
    if recipe.finetune.epochs or recipe.prune.recalibrate:
        check_batch(data, batch_size=recipe.finetune.batch_size, section="finetune")
    pictures, _ = next(iter(data.val.ordered(batch_size=PROOF_PICTURES)))
    proof = apply_plan(model, the_plan, data.input_shape, pictures=pictures, graph=planned.graph)
    console.message(f"proof: pruned and masked network agree to {proof:.1e} of the largest logit")
    run = store.create(name, recipe=dump_recipe(recipe))
    run.write(run.plan, the_plan.to_json())
    model = placed(model, recipe, device)
    stages, epochs, speed = _repair(model, data, recipe, run)
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
    graph = ChannelGraph(model, result.input_shape)
    section = recipe.prune
    made = make_plan(
        graph,
        result.input_shape,
        ratio=section.ratio,
        target_macs=section.target_macs,
        criterion=section.criterion,
        scope=section.scope,
        floor=section.floor,
        round_to=section.round_to,
        bottlenecks=section.bottlenecks,
        seed=recipe.seed,
    )
    _say_signal(made)
    return _Planned(model, graph, made, result)


def _say_signal(plan: PruningPlan) -> None:
    """Before the cut: was sparsity training enough, and what was left alone."""
    removed = 1 - plan.channels_after / plan.channels_before
    signal = (
        f"{plan.near_zero:.0%} of the channels have factors near zero, {removed:.0%} are to go; "
        f"of these {plan.near_zero_removed:.0%} are near zero"
    )
    if plan.near_zero_removed > 0.95:
        console.message(f"{signal}: recalibration should restore most of what the cut costs")
    else:
        console.warn(f"{signal}: the others carry what fine-tuning must restore (see sparsity.l1_gamma)")
    if abs(removed - plan.ratio) > 0.005:
        console.warn(
            f"floor {plan.floor:g} and round_to {plan.round_to} allow {removed:.1%} of the channels to go, "
            f"not {plan.ratio:.1%}"
        )
    for layer, reason in plan.skipped.items():
        console.message(f"left alone: {layer}: {reason}")


def _repair(model: nn.Module, data: Data, recipe: Recipe, run: RunFolder) -> tuple[list[Measurement], int, float]:
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
        build_training(model, data, recipe, phase="finetune"),
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
