"""What is wrong with a recipe, in words: each fault with its place, key path and nearest right name."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from namprune.nearest import nearest
from namprune.recipe.schema import Recipe
from namprune.recipe.tree import KeyPath

WORDINGS = {
    "missing": "missing",
    "union_tag_not_found": "missing",
    "int_type": "expected a whole number, got {got}",
    "float_type": "expected a number, got {got}",
    "finite_number": "expected a finite number, got {got}",
    "bool_type": "expected true or false, got {got}",
    "string_type": "expected text, got {got}",
    "tuple_type": "expected a list, got {got}",
    "dict_type": "expected keys with values, got {got}",
    "model_type": "expected a section of keys, got {got}",
    "model_attributes_type": "expected a section of keys, got {got}",
    "greater_than": "must be above {gt}, got {got}",
    "greater_than_equal": "must be at least {ge}, got {got}",
    "less_than": "must be below {lt}, got {got}",
    "less_than_equal": "must be at most {le}, got {got}",
    # runtime.device is the only key with a pattern
    "string_pattern_mismatch": "expected auto, cpu, mps, cuda or cuda:<number>, got {got}",
    "value_error": "{error}",
}
"""Our words for pydantic's types of error; {got} is the value, the other names are pydantic's context."""

SYNONYMS = {
    "amount": ("ratio",),
    "arch": ("name", "model"),
    "architecture": ("name", "model"),
    "backbone": ("name", "model"),
    "batch": ("batch_size",),
    "bs": ("batch_size",),
    "dataset": ("name", "data"),
    "divisor": ("round_to",),
    "dtype": ("precision",),
    "eta": ("lr",),
    "folder": ("root",),
    "gamma": ("l1_gamma", "decay"),
    "image_dir": ("root",),
    "importance": ("criterion",),
    "lambda": ("l1_lambda",),
    "learning_rate": ("lr",),
    "max_epochs": ("epochs",),
    "method": ("criterion", "name"),
    "min_channels": ("floor",),
    "network": ("name", "model"),
    "num_epochs": ("epochs",),
    "opt": ("optimizer",),
    "path": ("root",),
    "pretrained": ("weights",),
    "pruning_ratio": ("ratio",),
    "resolution": ("image_size",),
    "scheduler": ("schedule",),
    "lr_scheduler": ("schedule",),
    "size": ("image_size",),
    "sparsity": ("ratio",),
    "sparsity_ratio": ("ratio",),
    "steps": ("milestones",),
    "type": ("name",),
    "val_split": ("val_fraction",),
    "warmup_epochs": ("warmup",),
    "wd": ("weight_decay",),
    "width_mult": ("width",),
}
"""What other tools call our keys."""

_UNION_TAGS = {"union_tag_invalid", "union_tag_not_found"}
_CHOICES = ("attention", "model")
"""Sections of which there are several, told apart by a key."""


def explain(error: ValidationError, places: Mapping[KeyPath, str]) -> list[str]:
    """One line per fault, in the order of `places`: `place: key.path: what is wrong`."""
    rank = {path: number for number, path in enumerate(places)}
    located = []
    for fault in error.errors(include_url=False):
        path = _key_path(fault)
        anchor = path or _named_key(fault)
        while anchor not in places:  # a missing key stands where its section stands
            anchor = anchor[:-1]
        key = f"{dotted(path)}: " if path else ""
        located.append((rank[anchor], f"{places[anchor]}: {key}{_wording(fault)}"))
    return [line for _, line in sorted(located, key=lambda pair: pair[0])]


def dotted(path: KeyPath) -> str:
    """`("train", "milestones", 0)` as `train.milestones[0]`."""
    return clip("".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix("."))


def clip(text: str) -> str:
    """`text` in one short printable line."""
    line = "".join(letter if letter.isprintable() else "?" for letter in text[:81])
    return line if len(line) <= 80 else f"{line[:77]}..."


def suggestion(word: str, names: Collection[str]) -> str:
    """`; did you mean 'lr'?`, or nothing where no name is near."""
    synonyms = [name for name in SYNONYMS.get(word[:40].lower().replace("-", "_"), ()) if name in names]
    name = synonyms[0] if synonyms else nearest(word, names)
    return f"; did you mean {name!r}?" if name else ""


def _key_path(fault: ErrorDetails) -> KeyPath:
    """pydantic's location without the tag that it puts behind a section of which there are several."""
    path = fault["loc"]
    if fault["type"] in _UNION_TAGS:
        return (*path, _tag_of(fault))
    return (path[0], *path[2:]) if path and path[0] in _CHOICES else path


def _tag_of(fault: ErrorDetails) -> str:
    """The key that tells the sections apart, which pydantic gives in quotes."""
    return str(fault["ctx"]["discriminator"]).strip("'")


def _named_key(fault: ErrorDetails) -> KeyPath:
    """The key that a fault of the whole recipe begins with: the place to look at first."""
    first, *_ = str(fault.get("ctx", {}).get("error", "")).replace(":", " ").split() or [""]
    return tuple(first.split("."))


def _wording(fault: ErrorDetails) -> str:
    kind, got, context = fault["type"], fault["input"], fault.get("ctx", {})
    if kind == "extra_forbidden":
        known = _known_keys(fault["loc"])
        near = suggestion(str(fault["loc"][-1]), known)
        return f"unknown key{near}" if near else f"unknown key; known here: {', '.join(known)}"
    if kind == "union_tag_invalid":
        return _not_one_of(got[_tag_of(fault)], context["expected_tags"])
    if kind == "literal_error":
        return _not_one_of(got, context["expected"])
    return WORDINGS[kind].format(got=_show(got), **context) if kind in WORDINGS else fault["msg"]


def _not_one_of(value: object, expected: str) -> str:
    """`expected` is pydantic's list of the names, each in single quotes, and of what is no name."""
    names = [name or word.lower() for name, word in re.findall(r"'([^']*)'|(True|False)", expected)]
    near = suggestion(value, names) if isinstance(value, str) else ""
    return f"{_show(value)} is not one of {', '.join(names)}{near}"


def _known_keys(loc: KeyPath) -> tuple[str, ...]:
    """Keys of the section that pydantic's location `loc` lies in."""
    if len(loc) == 1:
        return tuple(Recipe.model_fields)
    annotation: Any = Recipe.model_fields[str(loc[0])].annotation
    sections: tuple[type[BaseModel], ...] = get_args(annotation) or (annotation,)
    if len(sections) > 1:  # a choice: behind its key stands the name of the one that was chosen
        tag = str(Recipe.model_fields[str(loc[0])].discriminator)
        sections = tuple(s for s in sections if loc[1] in get_args(s.model_fields[tag].annotation))
    return tuple(sections[0].model_fields)


def _show(value: object) -> str:
    """A value as it stands in a recipe."""
    return clip(repr(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
