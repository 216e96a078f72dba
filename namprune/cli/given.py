"""--model and --weights of train and prune: a network that was made elsewhere, in the place of a recipe's own."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from namprune.cli import complete
from namprune.cli.overrides import resolve
from namprune.errors import UserError
from namprune.nearest import nearest
from namprune.runs import RunFolder, RunStore

if TYPE_CHECKING:
    from namprune.recipe import Recipe

BASE = "pretrained"
"""The shipped recipe that says the rest where none is given."""

SOURCES = ("torchvision", "timm", "python")
"""Of networks from elsewhere."""

Model = Annotated[
    str | None,
    typer.Option(
        metavar="SOURCE:NAME",
        autocompletion=complete.models,
        help="A network of torchvision, timm or python (yours).",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Its weights; DEFAULT: its publisher's."),
]


def model_section(model: str | None, weights: str | None) -> dict[str, str] | None:
    """The recipe's `model` that the two options say; None without either.

    Raises:
        UserError: no such source, or weights of nothing.
    """
    if model is None:
        if weights is not None:
            raise UserError(
                "--weights is said without --model",
                hint="--model torchvision:resnet18, for example; of a recipe's network --set model.weights=FILE",
            )
        return None
    source, colon, name = model.partition(":")
    if not colon or not name or source not in SOURCES:
        hint = "torchvision:resnet18, timm:resnet18d or python:package.module:function; our own are for recipes"
        if name and (meant := nearest(source, SOURCES)):
            hint = f"did you mean '{meant}:{name}'?"
        raise UserError(f"--model {model}: expected a source and a name", hint=hint)
    section = {"source": source, "target" if source == "python" else "name": name}
    return section if weights is None else section | {"weights": weights}


def taken_in(
    section: Mapping[str, str],
    recipe: str | None,
    *,
    run: str | None,
    dry_run: bool,
    store: RunStore,
    name: str | None,
    sets: Sequence[str] | None,
    options: Mapping[str, object],
) -> tuple[RunFolder, "Recipe"]:
    """A network from elsewhere as a run that was not trained here, and the recipe that it is to be pruned by.

    Its name is left free for what `name` is given to, the pruned one.

    Raises:
        UserError: no weights, weights that are not the network's, or a run beside it.
    """
    if run is not None or dry_run:
        raise UserError(
            f"prune: {run or '--dry-run'} is said beside --model, which makes a run first",
            hint="`namprune train --model ... --set train.epochs=0` makes it alone",
        )
    if section["source"] != "python" and "weights" not in section:
        raise UserError(
            "prune: --weights is missing beside --model: what is cut has been trained",
            hint="--weights FILE, or --weights DEFAULT for its publisher's",
        )
    untrained = (*(sets or ()), "train.epochs=0")
    checked = resolve(recipe or BASE, sets=untrained, options={"--model": section, **options})
    from namprune.stages.train import train

    dense = store.free_name(f"{name[:58]}-dense") if name else None
    return store.open(train(checked, store=store, name=dense).name), checked
