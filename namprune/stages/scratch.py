"""Train the widths of a pruned run from fresh weights: what its shape is worth without what was learned before.

The control of Liu et al. (2019), https://arxiv.org/abs/1810.05270, with as many epochs (their scratch-E).
"""

from dataclasses import replace

from namprune import console, signals
from namprune.checkpoint import fresh_network
from namprune.data import Data, build_data
from namprune.device import pick_device
from namprune.distributed import first_alone
from namprune.errors import RunError, UserError
from namprune.recipe import load_recipe, recipe_digest
from namprune.recipe.schema import Recipe
from namprune.recipe.variant import from_scratch
from namprune.result import RunResult
from namprune.runs import RunFolder, RunStore
from namprune.stages.logbook import finish
from namprune.stages.network import check_batch, check_fits, check_same, open_dense
from namprune.stages.train import trained
from namprune.stages.work import at_work, begun, created


def scratch(pruned: RunFolder, recipe: Recipe, *, store: RunStore, name: str | None = None) -> RunResult:
    """Train the shape of a pruned run for as many epochs as it had in all, training and fine-tuning.

    There is no penalty, which serves only to rank what is to go. The recipe is the run's, with `train`, `finetune`
    and `runtime` as one likes; that of the new run has all epochs in `train`. Its widths are the parent's.

    Raises:
        RunError: the run is broken or not a pruned one, an earlier cut is gone, or the name is taken or no name.
        UserError: the recipe says otherwise of network, pictures or cut than the run's, or there are no epochs.
        DataError: the pictures are missing, or not the run's; nothing has been written.
    """
    pruned.verify()
    shape = pruned.result()
    if shape.kind != "prune":
        why = "lost channels in training; only widths that a cut left are trained" if shape.cut else "was not pruned"
        raise RunError(f"run {pruned.name!r} {why}", hint="name a run that `namprune prune` made")
    own = from_scratch(load_recipe(str(pruned.recipe)))
    recipe = from_scratch(recipe, earlier=_earlier_epochs(shape, RunStore(pruned.path.parent)))
    check_same(pruned, own, recipe, free=("train", "finetune", "runtime"))
    if recipe.train.epochs == 0:
        raise UserError(
            f"run {pruned.name!r} and what it was cut from had no epochs of training: there is no length to train for",
            hint="set train.epochs",
        )
    name = store.unused(name) if name else store.free_name(f"{pruned.name}-scratch")
    device = pick_device(recipe.runtime.device)
    with first_alone():
        data = build_data(recipe.data, device=device, channels_last=recipe.runtime.channels_last)
    check_fits(data, shape)
    check_batch(data, batch_size=recipe.train.batch_size, section="train")
    start = begun(recipe, data, device, kind="scratch", parent=pruned)
    with signals.at_once(on=False):  # from here on there is something to go on with
        run = created(name, recipe, start, store=store)
        console.message(f"training the shape of {pruned.name} from fresh weights in {run.path}")
        return go_on(run, recipe, data, pruned)


def go_on(run: RunFolder, recipe: Recipe, data: Data, pruned: RunFolder) -> RunResult:
    """Train in a run folder from where it stands, with the pictures and the pruned run that it was begun with."""
    shape, beside, device = pruned.result(), RunStore(pruned.path.parent), pick_device(recipe.runtime.device)
    with at_work(run, recipe, kind="scratch") as work:
        model = work.network(recipe, data)
        model = model or fresh_network(recipe, pruned.weights, classes=len(data.classes), input_shape=data.input_shape)
        dense = open_dense(shape.dense, beside, recipe, device, weights=shape.dense_weights)
        result = replace(
            trained(model, data, recipe, work, dense=dense),
            kind="scratch",
            parent=pruned.name,
            dense=shape.dense,
            dense_weights=shape.dense_weights,
            recipe_digest=recipe_digest(recipe, kind="prune"),
            cut=shape.cut,
        )
        return finish(result, recipe, work)


def _earlier_epochs(shape: RunResult, store: RunStore) -> int:
    """Epochs of fine-tuning between the dense training and the last cut."""
    epochs = 0
    while shape.parent is not None and shape.parent != shape.dense:
        shape = store.open(shape.parent).result()
        epochs += shape.epochs
    return epochs
