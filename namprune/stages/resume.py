"""Go on with a run that was interrupted, to the same bits as if it had not been."""

import hashlib

from namprune import console
from namprune.data import build_data
from namprune.device import describe_environment, pick_device
from namprune.distributed import first_alone
from namprune.errors import DataError, RunError, UserError
from namprune.recipe import Recipe, load_recipe
from namprune.result import Environment, Kind, RunResult, Start
from namprune.runs import RunFolder, RunStore
from namprune.stages import prune, scratch, train
from namprune.stages.network import check_same

FREE = ("runtime.device", "runtime.save_every", "runtime.track")
"""What may change between two sittings."""


def resume(run: RunFolder, recipe: Recipe | None = None) -> RunResult:
    """Finish an unfinished run. A recipe, if one is given, must be its own, but for where things are.

    On a CPU with as many threads the end has the bytes that it would have had without the interruption.

    Raises:
        RunError: another process is at work on it, its parent is gone, or what it began with was changed.
        UserError: recipe or versions are not those that it began with.
        DataError: the pictures are missing, or not those that it began with.
    """
    start = run.start()
    recipe = recipe or load_recipe(str(run.recipe))
    _check_recipe(run, start, recipe)
    device = pick_device(recipe.runtime.device)
    _check_environment(run, start.environment, describe_environment(device))
    parent = _parent_of(run, start)
    with first_alone():
        data = build_data(recipe.data, device=device, channels_last=recipe.runtime.channels_last)
    if data.digest != start.data_digest:
        raise DataError(
            f"run {run.name!r} was begun with other pictures, or another split of them",
            hint="give the run's own data with --data",
        )
    console.message(f"going on with {run.path}")
    if parent is None:
        return train.go_on(run, recipe, data)
    go_on = prune.go_on if start.kind == "prune" else scratch.go_on
    return go_on(run, recipe, data, parent)


def begun_alike(run: RunFolder, recipe: Recipe, *, kind: Kind, parent: str | None) -> bool:
    """Whether a run was begun as one of this recipe, kind and parent would be now, wherever that was."""
    start = run.begun_as()
    if start is None or (start.kind, start.parent) != (kind, parent):
        return False
    try:
        _check_recipe(run, start, recipe)
        _parent_of(run, start)
    except UserError:
        return False
    return True


def _check_recipe(run: RunFolder, start: Start, recipe: Recipe) -> None:
    if not run.recipe.is_file() or hashlib.sha256(run.recipe.read_bytes()).hexdigest() != start.recipe_sha256:
        raise RunError(
            f"run {run.name!r}: recipe.yaml is not the one that it was begun with",
            hint="put the old one back, or train anew with the new one under another name",
        )
    check_same(run, load_recipe(str(run.recipe)), recipe, free=FREE)


def _check_environment(run: RunFolder, was: Environment, now: Environment) -> None:
    for package, version in now.versions.items():
        if (before := was.versions.get(package)) != version:
            raise UserError(
                f"run {run.name!r} was begun with {package} {before}, here is {version}: it would end as another run",
                hint=f"install {package} {before}, or begin a new run",
            )
    for name in ("device", "threads", "devices"):
        if (before := getattr(was, name)) != (here := getattr(now, name)):
            console.warn(f"{name}: begun with {before}, here {here}: the end will not have the same bits")


def _parent_of(run: RunFolder, start: Start) -> RunFolder | None:
    """The run that it is made from; RunError where it is gone, or not the same any more."""
    if start.parent is None:
        return None
    parent = RunStore(run.path.parent).open(start.parent)
    if parent.result().files[parent.weights.name] != start.parent_weights:
        raise RunError(
            f"run {run.name!r} was begun from another {parent.name!r}, which was made anew since",
            hint=f"delete {run.path} and run it again",
        )
    return parent
