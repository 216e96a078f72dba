"""namprune train: a recipe becomes a run, or the widths of a pruned run become one with fresh weights."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from namprune import console
from namprune.choices import AttentionName
from namprune.cli import complete
from namprune.cli.given import BASE, Model, Weights, model_section
from namprune.cli.launch import spread
from namprune.cli.next import suggest_for
from namprune.cli.options import (
    OUTPUT,
    RUNS,
    AsJson,
    DataRoot,
    Deterministic,
    Device,
    NewName,
    PrecisionName,
    RecipeName,
    Resume,
    Runs,
    Sets,
    Track,
)
from namprune.cli.outcome import show_outcome
from namprune.cli.overrides import resolve
from namprune.cli.resume import reject, resumed
from namprune.errors import UserError
from namprune.runs import RunStore

if TYPE_CHECKING:
    from namprune.recipe import Recipe

Like = Annotated[
    str | None,
    typer.Option(
        metavar="RUN",
        autocompletion=complete.run_names,
        help="The widths of this pruned run, from fresh weights.",
    ),
]

Devices = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        rich_help_panel=OUTPUT,
        help="GPUs or CPU processes that share every batch.",
    ),
]


def train_command(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN", autocompletion=complete.run_names, help="With --resume: which, else the one begun last."
        ),
    ] = None,
    *,
    recipe: RecipeName = None,
    attention: Annotated[
        AttentionName | None, typer.Option(metavar="NAME", help=f"{', '.join(get_args(AttentionName))}.")
    ] = None,
    model: Model = None,
    weights: Weights = None,
    like: Like = None,
    resume: Resume = False,
    sets: Sets = None,
    data: DataRoot = None,
    device: Device = None,
    precision: PrecisionName = None,
    deterministic: Deterministic = None,
    track: Track = None,
    devices: Devices = None,
    name: NewName = None,
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Train the network of a recipe, or one from elsewhere."""
    store = RunStore(runs)
    section = model_section(model, weights)
    where = {"--data": data, "--device": device, "--precision": precision, "--deterministic": deterministic}
    options: dict[str, object] = {**where, "--track": track}
    if not resume:
        if run is not None:
            raise UserError(f"train: {run!r} is said without --resume", hint="--name names a new run")
        if name is not None:
            store.unused(name)  # said before torch is loaded
    if resume:
        reject("train", {"--name": name, "--like": like, "--attention": attention, "--model": model})
        with spread(devices):
            result = resumed(run, recipe, store=store, kinds=("train", "scratch"), sets=sets, options=options)
    elif like is not None:
        if recipe is not None or attention is not None or model is not None:
            raise UserError("train: --like takes recipe, attention and model from its run", hint="leave the others out")
        shape = store.open(like)
        checked = resolve(str(shape.recipe), sets=sets, options=options)
        from namprune.stages.scratch import scratch

        with spread(devices):
            result = scratch(shape, checked, store=store, name=name)
    else:
        checked = _recipe(recipe, section, attention, sets=sets, options=options)
        from namprune.stages.train import train

        with spread(devices):
            result = train(checked, store=store, name=name)
    show_outcome(result, runs=runs, as_json=as_json)
    if not as_json:
        suggest_for(store.open(result.name), store=store)


def _recipe(
    recipe: str | None,
    section: Mapping[str, str] | None,
    attention: AttentionName | None,
    *,
    sets: Sequence[str] | None,
    options: Mapping[str, object],
) -> "Recipe":
    """What is to be trained."""
    if recipe is None and section is None:
        raise UserError("train: --recipe is missing", hint="`namprune recipes` lists those that are shipped")
    checked = resolve(recipe or BASE, sets=sets, options={"--model": section, **options})
    if section is not None and getattr(checked.model, "weights", None) is None:
        console.message("--weights is not said: the network starts fresh")
    if attention is None:
        return checked
    from namprune.recipe.variant import with_attention

    return with_attention(checked, attention)
