"""Train the dense network of a recipe."""

import time
from dataclasses import replace

from torch import nn

from namprune import console
from namprune.checkpoint import to_bytes
from namprune.data import Data, build_data
from namprune.device import describe_environment, pick_device
from namprune.models import build_model
from namprune.pruning import ChannelGraph, dead_plan
from namprune.recipe import dump_recipe, recipe_digest
from namprune.recipe.schema import Recipe
from namprune.result import RunResult
from namprune.runs import RunFolder, RunStore
from namprune.stages.logbook import follow
from namprune.stages.network import check_batch, describe_attention, mean_speed, measured, placed, timings, utc_now
from namprune.stages.thinning import Thinning
from namprune.training import penalty_travel


def train(recipe: Recipe, *, store: RunStore, name: str | None = None) -> RunResult:
    """Train, measure and save; the run folder is complete when this returns. The last epoch counts.

    Raises:
        DataError: the pictures are missing or unusable; nothing has been written.
        PruneError: what `sparsity.remove_every` may not touch is no layer of the network; nothing has been written.
        RunError: the name is taken or no name, or the place cannot be written.
    """
    started = time.perf_counter()
    attention = recipe.attention.name
    stem = recipe.model.name if attention == "none" else f"{recipe.model.name}-{attention}"
    name = store.unused(name) if name else store.free_name(f"{stem}-s{recipe.seed}")
    device = pick_device(recipe.runtime.device)
    data = build_data(recipe.data, device=device, channels_last=recipe.runtime.channels_last)
    check_batch(data, batch_size=recipe.train.batch_size, section="train")
    model = placed(build_model(recipe, classes=len(data.classes), input_shape=data.input_shape), recipe, device)
    if recipe.sparsity.remove_every:  # looks for what is to stay before the time is spent
        dead_plan(ChannelGraph(model, data.input_shape), data.input_shape, floor=1.0, keep=recipe.prune.keep)
    run = store.create(name, recipe=dump_recipe(recipe))
    console.message(f"training {stem} on {data.label} ({len(data.train):,} pictures) in {run.path}")
    _say_penalty(recipe, images=len(data.train))
    result = trained(model, data, recipe, run)
    return run.finish(replace(result, seconds=time.perf_counter() - started))


def trained(
    model: nn.Module, data: Data, recipe: Recipe, run: RunFolder, *, dense: nn.Module | None = None
) -> RunResult:
    """Train `model` in place, put its weights and metrics into `run`, and measure it, its latency beside `dense`."""
    started = time.perf_counter()
    thinning = Thinning(model, data, recipe)
    records = follow(
        thinning,
        run,
        description="train",
        steps=len(data.train) // recipe.train.batch_size * recipe.train.epochs,
    )
    run.write(run.weights, to_bytes(model))
    if thinning.plan is not None:
        run.write(run.plan, thinning.plan.to_json())
        dense = dense or build_model(recipe, classes=len(data.classes), input_shape=data.input_shape)
        dense = placed(dense, recipe, next(model.parameters()).device)
    return RunResult(
        name=run.name,
        kind="train",
        created=utc_now(),
        parent=None,
        dense=None,
        model=recipe.model.name,
        attention=describe_attention(recipe),
        data=data.label,
        classes=data.classes,
        input_shape=data.input_shape,
        seed=recipe.seed,
        recipe_digest=recipe_digest(recipe, kind="train"),
        data_digest=data.digest,
        files={},
        environment=describe_environment(next(model.parameters()).device),
        stages=(measured(model, data, recipe, stage="trained", test=True),),
        cut=thinning.cut,
        latency=timings(model, recipe, data.input_shape, dense=dense),
        epochs=len(records),
        seconds=time.perf_counter() - started,
        images_per_second=mean_speed(records),
    )


def _say_penalty(recipe: Recipe, *, images: int) -> None:
    """Whether the penalty can make zeros at all, before the time is spent."""
    if recipe.sparsity.l1_gamma == 0:
        console.message("no penalty on γ: expect a flat ranking (sparsity.l1_gamma sets one)")
        return
    if recipe.train.optimizer != "sgd" or recipe.sparsity.form != "l1":
        return  # AdamW divides the penalty by its own size, and the other forms push each factor by its own measure
    travel = penalty_travel(recipe, images=images)
    verdict = "enough to bring unneeded factors from 1 to zero" if travel > 1 else "too little to make zeros (needs 1)"
    console.message(f"penalty: moves a factor without another gradient by up to {travel:.2f}, {verdict}")
