"""Train the dense network of a recipe."""

from torch import nn

from namprune import console, signals
from namprune.checkpoint import to_bytes
from namprune.data import Data, build_data
from namprune.device import describe_environment, pick_device
from namprune.distributed import dismiss, first_alone
from namprune.models import build_model
from namprune.pruning import ChannelGraph, dead_plan
from namprune.recipe import recipe_digest
from namprune.recipe.schema import Recipe
from namprune.result import RunResult
from namprune.runs import RunFolder, RunStore
from namprune.sparsity import build_penalty, gamma_spread
from namprune.stages.cutting import cut_record
from namprune.stages.logbook import finish, follow
from namprune.stages.network import check_batch, describe_attention, mean_speed, measured, placed, timings, utc_now
from namprune.stages.speed import say_price
from namprune.stages.thinning import Thinning
from namprune.stages.work import Work, at_work, begun, created
from namprune.table import quantity
from namprune.training import penalty_travel


def train(recipe: Recipe, *, store: RunStore, name: str | None = None) -> RunResult:
    """Train, measure and save; the run folder is complete when this returns. The last epoch counts.

    Without epochs a network from elsewhere is measured and saved as its weights are.

    Raises:
        DataError: the pictures are missing or unusable; nothing has been written.
        PruneError: what `sparsity.remove_every` may not touch is no layer of the network; nothing has been written.
        RunError: the name is taken or no name, or the place cannot be written.
    """
    attention = recipe.attention.name
    stem = recipe.model.stem_name if attention == "none" else f"{recipe.model.stem_name}-{attention}"
    name = store.unused(name) if name else store.free_name(f"{stem}-s{recipe.seed}")
    device = pick_device(recipe.runtime.device)
    with first_alone():
        data = build_data(recipe.data, device=device, channels_last=recipe.runtime.channels_last)
    if recipe.train.epochs:
        check_batch(data, batch_size=recipe.train.batch_size, section="train")
    model = build_model(recipe, classes=len(data.classes), input_shape=data.input_shape, pretrained=True)
    console.detail(f"{stem}: {quantity(sum(one.numel() for one in model.parameters()))} parameters")
    if recipe.sparsity.remove_every:  # looks for what is to stay before the time is spent
        with console.status("tracing the network"):
            dead_plan(ChannelGraph(model, data.input_shape), data.input_shape, floor=1.0, keep=recipe.prune.keep)
    with signals.at_once(on=False):  # from here on there is something to go on with
        run = created(name, recipe, begun(recipe, data, device, kind="train"), store=store)
        if recipe.train.epochs:
            console.message(f"training {stem} on {data.label} ({len(data.train):,} pictures) in {run.path}")
            _say_penalty(model, recipe, images=len(data.train))
        else:
            console.message(f"taking {stem} as it is, on {data.label}, into {run.path}")
        return go_on(run, recipe, data, model)


def go_on(run: RunFolder, recipe: Recipe, data: Data, start: nn.Module | None = None) -> RunResult:
    """Train in a run folder from where it stands, with the pictures that it was begun with; `start` is the network
    at the beginning, built where it is not given."""
    with at_work(run, recipe, kind="train") as work:
        model = work.network(recipe, data) or start
        if model is None:
            model = build_model(recipe, classes=len(data.classes), input_shape=data.input_shape, pretrained=True)
        return finish(trained(model, data, recipe, work), recipe, work)


def trained(model: nn.Module, data: Data, recipe: Recipe, work: Work, *, dense: nn.Module | None = None) -> RunResult:
    """Train a network, put its weights and metrics into the run, and measure it, its latency beside `dense`.

    Of a group only the first process comes back.
    """
    run, device = work.run, pick_device(recipe.runtime.device)
    environment = describe_environment(device)
    model = placed(model, recipe, device)
    if recipe.train.epochs:
        say_price(model, data, recipe, phase="train")
        steps = len(data.train) // recipe.train.batch_size * recipe.train.epochs
        follow(Thinning(model, data, recipe, work), work, recipe, description="train", steps=steps)
    dismiss()
    run.write(run.weights, to_bytes(model))
    progress = work.progress
    if progress.plan is not None:
        run.write(run.plan, progress.plan.to_json())
        dense = dense or build_model(recipe, classes=len(data.classes), input_shape=data.input_shape)
        dense = placed(dense, recipe, device)
    every = recipe.sparsity.remove_every
    stage = "trained" if recipe.train.epochs else "as given"
    stages = (measured(model, data, recipe, stage=stage, test=True),)
    latency = timings(model, recipe, data.input_shape, dense=dense)
    return RunResult(
        name=run.name,
        kind="train",
        created=utc_now(),
        parent=None,
        dense=None,
        model=recipe.model.label,
        attention=describe_attention(recipe),
        data=data.label,
        classes=data.classes,
        input_shape=data.input_shape,
        seed=recipe.seed,
        recipe_digest=recipe_digest(recipe, kind="train"),
        data_digest=data.digest,
        files={},
        environment=environment,
        stages=stages,
        cut=cut_record(progress.plan, progress.proof, every=every) if progress.plan else None,
        latency=latency,
        epochs=len(progress.records),
        seconds=work.seconds,
        images_per_second=mean_speed(progress.records),
    )


def _say_penalty(model: nn.Module, recipe: Recipe, *, images: int) -> None:
    """Whether the penalty can make zeros at all, before the time is spent."""
    if recipe.sparsity.l1_gamma == 0:
        console.message("no penalty on γ: expect a flat ranking (sparsity.l1_gamma sets one)")
        return
    if recipe.train.optimizer != "sgd" or recipe.sparsity.form != "l1":
        return  # AdamW divides the penalty by its own size, and the other forms push each factor by its own measure
    travel, section = penalty_travel(recipe, images=images), recipe.sparsity
    penalty = build_penalty(model, l1_gamma=section.l1_gamma, l1_lambda=0.0, on=section.on)
    start = gamma_spread(penalty.gammas)
    if start is None:
        return
    mean = f"{start.mean:.2g}"  # 1 in fresh networks
    enough = f"enough to bring unneeded factors from {mean} to zero"
    verdict = enough if travel > start.mean else f"too little to make zeros (needs {mean})"
    console.message(f"penalty: moves a factor without another gradient by up to {travel:.2f}, {verdict}")
