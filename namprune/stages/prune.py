"""Prune the network of a run: in one cut or several, each proven, recalibrated and fine-tuned; then measure."""

import copy
import time
from dataclasses import dataclass

import torch
from torch import nn

from namprune import console
from namprune.checkpoint import to_bytes
from namprune.data import Data, build_data
from namprune.device import describe_environment, pick_device
from namprune.errors import PruneError
from namprune.pruning import PruningPlan, recalibrate
from namprune.recipe import dump_recipe, recipe_digest
from namprune.recipe.schema import Recipe
from namprune.result import EpochRecord, Measurement, RunResult
from namprune.runs import RunFolder, RunStore
from namprune.stages.cutting import (
    Planned,
    cut_record,
    joined,
    make_cut,
    plan_cut,
    reads_pictures,
    say_reached,
    say_signal,
)
from namprune.stages.logbook import follow
from namprune.stages.network import (
    check_batch,
    check_fits,
    describe_attention,
    mean_speed,
    measured,
    open_dense,
    open_network,
    placed,
    timings,
    utc_now,
)
from namprune.training import build_training


def plan(parent: RunFolder, recipe: Recipe) -> PruningPlan:
    """What `prune` would remove from a run's network, of several cuts the first.

    Makes no run; reads data only if criterion, scope or target need it.
    """
    model, origin = open_network(parent, recipe)
    device = pick_device(recipe.runtime.device)
    data, steps = None, recipe.prune.steps
    if reads_pictures(recipe.prune):
        data = _pictures_of(origin, recipe, device)
        check_batch(data, batch_size=recipe.finetune.batch_size, section="finetune")
    model = placed(model, recipe, device)
    dense = model if steps > 1 else None
    planned = plan_cut(model, data, recipe, parent, input_shape=origin.input_shape, dense=dense, cuts=steps)
    if steps > 1:
        console.message(f"this is the first of {steps} cuts; the others rank what is left then")
    say_signal(planned.plan, recipe.prune)
    return planned.plan


def prune(parent: RunFolder, recipe: Recipe, *, store: RunStore, name: str | None = None) -> RunResult:
    """Prune a run by a recipe (its own, with other `prune` and `finetune` sections), into a run of its own.

    Raises:
        RunError: the parent is broken, or the name is taken or no name.
        PruneError: nothing can be removed as asked.
        DataError: the pictures are missing, or not the parent's.
        ProofError: the cut network does not compute what the masked one does; of the first cut, nothing has been
            written.
    """
    started = time.perf_counter()
    name = store.unused(name) if name else store.free_name(f"{parent.name}-{recipe.prune.tag}")
    model, origin = open_network(parent, recipe)
    device = pick_device(recipe.runtime.device)
    data = _pictures_of(origin, recipe, device)
    if recipe.finetune.epochs or recipe.prune.recalibrate or recipe.prune.compensate or reads_pictures(recipe.prune):
        check_batch(data, batch_size=recipe.finetune.batch_size, section="finetune")
    model = placed(model, recipe, device)
    done = _cut_and_repair(model, data, recipe, parent, store=store, name=name)
    run = done.run
    run.write(run.weights, to_bytes(model))
    ancestor = origin.dense or parent.name
    weights = origin.dense_weights or origin.files[parent.weights.name]
    dense = open_dense(ancestor, RunStore(parent.path.parent), recipe, device, weights=weights)
    section = recipe.prune
    return run.finish(
        RunResult(
            name=run.name,
            kind="prune",
            created=utc_now(),
            parent=parent.name,
            dense=ancestor,
            dense_weights=weights,
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
            stages=(origin.final, *done.stages),
            cut=cut_record(done.plan, done.proof, steps=section.steps, apart=section.apart),
            latency=timings(model, recipe, data.input_shape, dense=dense),
            epochs=len(done.records),
            seconds=time.perf_counter() - started,
            images_per_second=mean_speed(done.records),
        )
    )


@dataclass(frozen=True)
class _Done:
    run: RunFolder
    plan: PruningPlan
    """All cuts as one."""
    proof: float
    """The largest."""
    stages: list[Measurement]
    records: list[EpochRecord]


def _cut_and_repair(
    model: nn.Module, data: Data, recipe: Recipe, parent: RunFolder, *, store: RunStore, name: str
) -> _Done:
    """Every cut of a recipe with what repairs it, in place; the run is made when the first cut is proven."""
    steps, shape = recipe.prune.steps, data.input_shape
    dense = copy.deepcopy(model) if steps > 1 or recipe.finetune.distill else None
    if steps > 1:  # what cannot be reached is refused before the time is spent
        plan_cut(model, data, recipe, parent, input_shape=shape, dense=dense)
    run, total, proof = None, None, 0.0
    batches, batch_size = recipe.prune.compensate, recipe.finetune.batch_size
    stages: list[Measurement] = []
    records: list[EpochRecord] = []
    for step in range(1, steps + 1):
        planned = _next_cut(model, data, recipe, parent, dense=dense, after=total, step=step)
        if planned is not None:
            one = make_cut(planned, data, batches=batches, batch_size=batch_size, seed=recipe.seed)
            proof = max(proof, one)
            total = joined(total, planned.plan)
            model = placed(model, recipe, next(model.parameters()).device)
        run = run or store.create(name, recipe=dump_recipe(recipe))
        if total is not None:
            run.write(run.plan, total.to_json())
        taken, epochs = _repair(model, data, recipe, run, step=step, teacher=dense)
        stages, records = [*stages, *taken], [*records, *epochs]
    assert run is not None  # noqa: S101 - there is one step at least,
    assert total is not None  # noqa: S101 - and where none before it cut, the last one does
    if steps > 1:
        say_reached(total, recipe.prune)
    return _Done(run, total, proof, stages, records)


def _next_cut(
    model: nn.Module,
    data: Data,
    recipe: Recipe,
    parent: RunFolder,
    *,
    dense: nn.Module | None,
    after: PruningPlan | None,
    step: int,
) -> Planned | None:
    """The cut of a step; None where widths are too coarse for any: the steps that follow make up for it.

    The last one comes as near as it can, if only by leaving what is there: nothing that was trained is lost.
    """
    steps = recipe.prune.steps
    try:
        planned = plan_cut(
            model,
            data,
            recipe,
            parent,
            input_shape=data.input_shape,
            dense=dense if steps > 1 else None,
            after=after,
            cuts=steps - step + 1,
            nearest=1 < step == steps,
        )
    except PruneError as error:
        if step == steps and after is None:
            raise
        console.warn(f"step {step}/{steps} removes nothing: {error.message}")
        return None
    if steps > 1:
        left = planned.plan.channels_after
        console.message(f"step {step}/{steps}: {planned.plan.channels_before} channels, {left} after it")
    say_signal(planned.plan, recipe.prune)
    return planned


def _repair(
    model: nn.Module, data: Data, recipe: Recipe, run: RunFolder, *, step: int, teacher: nn.Module | None
) -> tuple[list[Measurement], list[EpochRecord]]:
    """Recalibrate and fine-tune after a cut, in place; what was measured, of a step before the last only at its end."""
    section, last, epochs = recipe.prune, step == recipe.prune.steps, _epochs_of(recipe, step)
    end = "finetuned" if epochs else "recalibrated" if section.recalibrate else "pruned"
    stages: list[Measurement] = []
    records: list[EpochRecord] = []

    def take(stage: str) -> None:
        if last or stage == end:
            named = stage if last else f"step {step}/{section.steps}"
            stages.append(measured(model, data, recipe, stage=named, test=last and stage == end))
            console.message(f"validation top-1, {named}: {stages[-1].val.top1:.2%}")

    take("pruned")
    if section.recalibrate:
        batches = data.train.shuffled(batch_size=recipe.finetune.batch_size, seed=recipe.seed, epoch=0)
        recalibrate(model, batches, limit=section.recalibrate)
        take("recalibrated")
    if epochs:
        records = follow(
            build_training(model, data, recipe, phase="finetune", teacher=teacher, course=epochs),
            run,
            description="finetune",
            steps=len(data.train) // recipe.finetune.batch_size * len(epochs),
        )
        take("finetuned")
    return stages, records


def _epochs_of(recipe: Recipe, step: int) -> range:
    """The epochs of fine-tuning that follow a cut: as many as follow any other, and the remainder after the last."""
    steps, epochs = recipe.prune.steps, recipe.finetune.epochs
    each = epochs // steps
    return range((step - 1) * each, epochs if step == steps else step * each)


def _pictures_of(parent: RunResult, recipe: Recipe, device: torch.device) -> Data:
    """What a run was trained on; DataError if the recipe's data is something else."""
    data = build_data(recipe.data, device=device, channels_last=recipe.runtime.channels_last)
    check_fits(data, parent)
    return data
