"""Prune the network of a run: in one cut or several, each proven, recalibrated and fine-tuned; then measure."""

import copy

import torch
from torch import nn

from namprune import console, signals
from namprune.checkpoint import to_bytes
from namprune.data import Data, build_data
from namprune.device import describe_environment, pick_device
from namprune.errors import PruneError
from namprune.pruning import PruningPlan, recalibrate
from namprune.recipe import dump_recipe, recipe_digest
from namprune.recipe.schema import Recipe
from namprune.result import RunResult
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
from namprune.stages.logbook import finish, follow
from namprune.stages.network import (
    check_batch,
    check_fits,
    checked,
    describe_attention,
    mean_speed,
    measured,
    open_dense,
    open_network,
    placed,
    timings,
    utc_now,
)
from namprune.stages.speed import forward_for, say_price
from namprune.stages.work import Work, at_work, begun
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
    name = store.unused(name) if name else store.free_name(f"{parent.name}-{recipe.prune.tag}")
    origin = checked(parent, recipe)
    device = pick_device(recipe.runtime.device)
    data = _pictures_of(origin, recipe, device)
    if recipe.finetune.epochs or recipe.prune.recalibrate or recipe.prune.compensate or reads_pictures(recipe.prune):
        check_batch(data, batch_size=recipe.finetune.batch_size, section="finetune")
    start = begun(recipe, data, device, kind="prune", parent=parent)
    with signals.at_once(on=False):  # from here on there is something to go on with
        run = store.create(name, recipe=dump_recipe(recipe), start=start)
        return go_on(run, recipe, data, parent)


def go_on(run: RunFolder, recipe: Recipe, data: Data, parent: RunFolder) -> RunResult:
    """Prune in a run folder from where it stands, with the pictures and the parent that it was begun with."""
    device = pick_device(recipe.runtime.device)
    uncut, origin = open_network(parent, recipe)
    with at_work(run, recipe, kind="prune") as work:
        needed = recipe.prune.steps > 1 or recipe.finetune.distill  # as the measure of all cuts, or as the teacher
        dense = placed(copy.deepcopy(uncut), recipe, device) if needed else None
        model = placed(work.network(recipe, data) or uncut, recipe, device)
        if recipe.finetune.epochs:
            say_price(model, data, recipe, phase="finetune")
        _cut_and_repair(model, data, recipe, parent, work, dense=dense)
        return finish(_result(model, data, recipe, work, origin=origin, parent=parent), recipe, work)


def _result(
    model: nn.Module, data: Data, recipe: Recipe, work: Work, *, origin: RunResult, parent: RunFolder
) -> RunResult:
    """The record of a run whose cuts and training are done; its network is written."""
    run, progress, device = work.run, work.progress, next(model.parameters()).device
    assert progress.plan is not None  # noqa: S101 - where no step before the last one cut, that one does
    run.write(run.plan, progress.plan.to_json())
    run.write(run.weights, to_bytes(model))
    ancestor = origin.dense or parent.name
    weights = origin.dense_weights or origin.files[parent.weights.name]
    dense = open_dense(ancestor, RunStore(parent.path.parent), recipe, device, weights=weights)
    section = recipe.prune
    latency = timings(model, recipe, data.input_shape, dense=dense)
    return RunResult(
        name=run.name,
        kind="prune",
        created=utc_now(),
        parent=parent.name,
        dense=ancestor,
        dense_weights=weights,
        model=recipe.model.label,
        attention=describe_attention(recipe),
        data=data.label,
        classes=data.classes,
        input_shape=data.input_shape,
        seed=recipe.seed,
        recipe_digest=recipe_digest(recipe, kind="prune"),
        data_digest=data.digest,
        files={},
        environment=describe_environment(device),
        stages=(origin.final, *progress.stages),
        cut=cut_record(progress.plan, progress.proof, steps=section.steps, apart=section.apart),
        latency=latency,
        epochs=len(progress.records),
        seconds=work.seconds,
        images_per_second=mean_speed(progress.records),
    )


def _cut_and_repair(
    model: nn.Module, data: Data, recipe: Recipe, parent: RunFolder, work: Work, *, dense: nn.Module | None
) -> None:
    """Every cut of a recipe that is still to come, with what repairs it, in place."""
    section, steps = recipe.prune, recipe.prune.steps
    if steps > 1 and not work.progress.cuts:  # what cannot be reached is refused before the time is spent
        with signals.at_once():
            plan_cut(model, data, recipe, parent, input_shape=data.input_shape, dense=dense)
    for step in range(max(1, work.progress.cuts), steps + 1):
        if step > work.progress.cuts:
            with signals.at_once():  # it is saved with the first step of what follows
                _cut(model, data, recipe, parent, work, dense=dense, step=step)
        if epochs := _epochs_of(recipe, step):
            forward = forward_for(model, data, recipe, work, phase="finetune")
            follow(
                build_training(model, data, recipe, phase="finetune", teacher=dense, course=epochs, forward=forward),
                work,
                recipe,
                description="finetune",
                steps=len(data.train) // recipe.finetune.batch_size * len(epochs),
            )
            _take(model, data, recipe, work, stage="finetuned", step=step)
    if steps > 1:
        assert work.progress.plan is not None  # noqa: S101 - as above
        say_reached(work.progress.plan, section)


def _cut(
    model: nn.Module,
    data: Data,
    recipe: Recipe,
    parent: RunFolder,
    work: Work,
    *,
    dense: nn.Module | None,
    step: int,
) -> None:
    """Make the cut of a step and recalibrate what it leaves, in place."""
    section, batch_size, before = recipe.prune, recipe.finetune.batch_size, work.progress
    planned = _next_cut(model, data, recipe, parent, dense=dense, after=before.plan, step=step)
    if planned is not None:
        proof = make_cut(planned, data, batches=section.compensate, batch_size=batch_size, seed=recipe.seed)
        work.note(plan=joined(before.plan, planned.plan), proof=max(before.proof, proof))
        work.run.write(work.run.plan, joined(before.plan, planned.plan).to_json())
        placed(model, recipe, next(model.parameters()).device)
    work.note(cuts=step)
    _take(model, data, recipe, work, stage="pruned", step=step)
    if section.recalibrate:
        batches = data.train.shuffled(batch_size=batch_size, seed=recipe.seed, epoch=0)
        with console.watched(batches, section.recalibrate, "recalibration") as steps:
            seen = recalibrate(model, steps, limit=section.recalibrate)
        console.detail(f"recalibrated on {seen} batches of {batch_size}")
        _take(model, data, recipe, work, stage="recalibrated", step=step)


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


def _take(model: nn.Module, data: Data, recipe: Recipe, work: Work, *, stage: str, step: int) -> None:
    """Measure a stage: of the last step each, of one before it only what it ends with."""
    section, last = recipe.prune, step == recipe.prune.steps
    end = "finetuned" if _epochs_of(recipe, step) else "recalibrated" if section.recalibrate else "pruned"
    if last or stage == end:
        named = stage if last else f"step {step}/{section.steps}"
        taken = measured(model, data, recipe, stage=named, test=last and stage == end)
        work.note(stages=(*work.progress.stages, taken))
        told = {"val_top1": taken.val.top1, "macs": taken.complexity.macs, "params": taken.complexity.params}
        scalars = {f"{stage}/{name}": value for name, value in told.items()}
        work.tracker.scalars(scalars, step=len(work.progress.records))
        console.message(f"validation top-1, {named}: {taken.val.top1:.2%}")


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
