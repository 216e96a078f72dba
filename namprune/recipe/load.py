"""From a file or a shipped name, with overrides, to a checked `Recipe`, or to all of its faults at once."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from namprune.errors import RecipeError
from namprune.nearest import nearest
from namprune.recipe.faults import clip, dotted, explain, suggestion
from namprune.recipe.schema import AIMS, Recipe
from namprune.recipe.shipped import shipped_recipes
from namprune.recipe.tree import MAX_BYTES, MAX_DEPTH, KeyPath, TreeError, read_tree

_HINT = "`namprune recipes schema` describes every key"
_IMPLIED = {"source": "namprune"}


class Override(NamedTuple):
    """One `--set key.path=value`, read."""

    path: KeyPath
    value: Any
    place: str


def load_recipe(source: str, *, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in the file `source`, or the shipped one of that name.

    Raises:
        RecipeError: no such recipe, or one that does not hold; every fault has its key path and place.
    """
    path = Path(source)
    if "/" in source or path.suffix in {".yaml", ".yml"} or _is_file(path):
        return _parse(_read(path), source=source, overrides=overrides)
    shipped = {recipe.name: recipe.text for recipe in shipped_recipes()}
    if source not in shipped:
        fault = f"{clip(source)!r} is neither a file nor a shipped recipe{suggestion(source, shipped)}"
        raise RecipeError(source, (fault,), hint=f"shipped are {', '.join(shipped)}")
    return parse_recipe(shipped[source], source=f"{source}.yaml", overrides=overrides)


def parse_recipe(text: str, *, source: str, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe that `text` says; `source` names it in messages.

    Raises:
        RecipeError: it does not hold; every fault has its key path and place.
    """
    return _parse(_encode(text), source=source, overrides=overrides)


def _parse(raw: bytes, *, source: str, overrides: Sequence[str]) -> Recipe:
    try:
        tree = read_tree(raw)
    except TreeError as fault:
        raise RecipeError(source, (f"{source}:{fault.line}: {fault.message}",)) from None
    if not isinstance(tree.value, dict):
        fault_line = f"{source}:{tree.lines[()]}: expected sections such as `data:` and `model:`"
        raise RecipeError(source, (fault_line,), hint=_HINT)
    places = {path: f"{source}:{line}" for path, line in tree.lines.items()}
    faults = _override(tree.value, overrides, places)
    try:
        recipe = Recipe.model_validate(tree.value)
    except ValidationError as error:
        raise RecipeError(source, (*faults, *explain(error, places)), hint=_HINT) from None
    if faults:
        raise RecipeError(source, tuple(faults), hint=_HINT)
    return recipe


def _override(root: dict[str, Any], overrides: Iterable[str], places: dict[KeyPath, str]) -> list[str]:
    """Put `overrides` into `root`, their places into `places`; returns the faults of those that cannot be."""
    read: list[Override] = []
    faults: list[str] = []
    for text in overrides:
        try:
            read.append(_read_override(text))
        except TreeError as fault:
            faults.append(f"--set {clip(text)}: {fault.message}")
    _drop_other(root, read, "attention", "name")
    _drop_other(root, read, "model", "source")
    _drop_other_aim(root, read)
    for override in read:
        try:
            _put(root, override, places)
        except TreeError as fault:
            faults.append(f"{override.place}: {fault.message}")
    return faults


def _read_override(text: str) -> Override:
    key, equals, value = text.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path) or len(path) > MAX_DEPTH:
        raise TreeError("expected key.path=value, for example train.epochs=3", line=1)
    if not value.strip():
        raise TreeError(f"{clip(key)} has no value; null unsets a key that may be unset", line=1)
    return Override(path, read_tree(_encode(value)).value, f"--set {clip(text)}")


def _drop_other(root: dict[str, Any], overrides: Iterable[Override], section: str, key: str) -> None:
    """Options of one attention, or of one source of networks, say nothing about another: that starts without them."""
    names = [override.value for override in overrides if override.path == (section, key)]
    own = root.get(section)
    if names and isinstance(own, dict) and own.get(key, _IMPLIED.get(key)) != names[-1]:
        root[section] = {}


def _drop_other_aim(root: dict[str, Any], overrides: Iterable[Override]) -> None:
    """How much goes is said by one key: what the file says of it falls when an override says it in another."""
    keys = [("prune", aim) for aim in AIMS]
    given = {override.path[-1] for override in overrides if override.path in keys and override.value is not None}
    section = root.get("prune")
    if given and isinstance(section, dict):
        root["prune"] = {key: value for key, value in section.items() if key not in AIMS or key in given}


def _put(root: dict[str, Any], override: Override, places: dict[KeyPath, str]) -> None:
    path, value, place = override
    section = root
    for depth, key in enumerate(path[:-1], start=1):
        if section.get(str(key)) is None:
            section[str(key)] = {}
            places[path[:depth]] = place
        section = section[str(key)]
        if not isinstance(section, dict):
            raise TreeError(f"unknown key {dotted(path)}: {dotted(path[:depth])} holds a value, not keys", line=1)
    section[str(path[-1])] = value
    for old in [known for known in places if known[: len(path)] == path]:
        del places[old]  # what stood below the key is gone with its lines
    places[path] = place


def _encode(text: str) -> bytes:
    """UTF-8; what cannot be encoded is left for `read_tree` to refuse."""
    return text.encode(errors="surrogatepass")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long for the file system is no file
        return False


def _read(path: Path) -> bytes:
    """At most one byte more than a recipe may have."""
    try:
        if not path.is_file():  # nor a device or pipe, that might never end
            problem = "is not a file" if path.exists() else "no such file"
            beside = [str(path.with_name(file.name)) for file in path.parent.glob("*.y*ml")]
            meant = nearest(str(path), beside, close=0.8)
            hint = f"did you mean {meant!r}?" if meant else "`namprune recipes` lists the shipped ones"
            raise RecipeError(str(path), (f"{path}: {problem}",), hint=hint)
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RecipeError(str(path), (f"{path}: {error.strerror}",)) from None
