"""What a comparison was asked to be, and the file in the folder of runs that keeps it for `compare --resume`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from namprune.choices import AttentionName
from namprune.errors import RunError, UserError
from namprune.recipe import Recipe
from namprune.recipe.schema import PruneSection
from namprune.recipe.section import Section
from namprune.runs import RunStore, write_atomic
from namprune.runs.files import reading, writing

FILE = "compare.json"
"""In the folder of runs: the comparison that was begun there last."""

ATTENTIONS: tuple[AttentionName, ...] = ("nam", "se", "cbam", "sa", "none")
"""Compared where nothing else is said."""


class Comparison(Section):
    """A grid of runs: each attention is trained once per seed, from the recipe's on, and each cut made of each."""

    recipe: Recipe
    attentions: Annotated[tuple[AttentionName, ...], Field(min_length=1)] = ATTENTIONS
    cuts: tuple[PruneSection, ...] = ()
    """None for that of the recipe."""
    seeds: Annotated[int, Field(ge=1)] = 1
    controls: bool = False
    """Whether NAM's controls are made, too, and every cut at equal MACs."""


def begin(asked: Comparison, store: RunStore) -> None:
    """Keep what was asked for in the folder of runs, in the place of an earlier one.

    Raises:
        RunError: the place cannot be written.
    """
    path = _file(store)
    with writing(path):
        store.root.mkdir(parents=True, exist_ok=True)
    write_atomic(path, asked.model_dump_json(indent=2) + "\n")


def begun_in(store: RunStore) -> Comparison:
    """The comparison that was begun last in a folder of runs.

    Raises:
        RunError: there is none, or its file is not what `begin` wrote.
    """
    path = _file(store)
    if not path.is_file():
        raise RunError(
            f"no comparison was begun in {store.root}",
            hint="`namprune compare --recipe NAME` begins one; --runs names another folder of runs",
        )
    with reading(path):
        content = path.read_bytes()
    try:
        return Comparison.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise RunError(
            f"{path}: {where}: {fault['msg']}" if where else f"{path}: {fault['msg']}",
            hint="begin the comparison again without --resume: finished runs are taken",
        ) from error


def has_begun(asked: Comparison, store: RunStore) -> bool:
    """Whether it is the one that was begun last in a folder of runs."""
    try:
        return begun_in(store) == asked
    except RunError:
        return False


def check_equal(begun: Comparison, asked: Comparison, store: RunStore) -> None:
    """Raise UserError where the one that was begun is not the one that is asked for, with the first difference."""
    was, now = (dict(_leaves(one.model_dump(mode="json"))) for one in (begun, asked))
    for key in was | now:
        if was.get(key) != now.get(key):
            raise UserError(
                f"compare --resume: {key} is {was.get(key)} in the comparison of {store.root}, not {now.get(key)}",
                hint="leave the option out, or begin another comparison without --resume",
            )


def _file(store: RunStore) -> Path:
    return store.root / FILE


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, object]]:
    """Every value with its place in the tree, as `recipe.train.epochs` and `cuts.0.ratio`."""
    if isinstance(tree, list) and any(isinstance(item, dict) for item in tree):
        tree = dict(enumerate(tree))
    if not isinstance(tree, dict):
        yield path, tree
        return
    for key, value in tree.items():
        yield from _leaves(value, f"{path}.{key}" if path else str(key))
