"""A recipe as text to begin with, in which every line says what it is for."""

import re
import textwrap
from collections.abc import Mapping
from typing import Any

from namprune.recipe.dump import dump_line
from namprune.recipe.schema import Recipe
from namprune.recipe.section import Section

WIDTH = 120

_SENTENCE = re.compile(r"(.+?)(?:[.;](?=\s|$)|$)", re.DOTALL)


def commented(tree: Mapping[str, Any], *, title: str, reasons: Mapping[str, str]) -> str:
    """`tree` as YAML, each key with its reason or, where `reasons` has none for it, what the schema says it means.

    Keys of `reasons` are paths such as `train.lr`.

    Raises:
        pydantic.ValidationError: the tree is no recipe.
    """
    recipe = Recipe.model_validate(tree)
    parts = [_above(title, "")]
    for name, value in tree.items():
        if not isinstance(value, Mapping):
            parts.append(_line(name, value, reasons.get(name) or _meaning(recipe, name), indent=""))
            continue
        section = getattr(recipe, name)
        about = reasons.get(name) or _first_sentence(type(section).__doc__ or "")
        lines = [f"\n{name}:  # {about}"]
        for key, inner in value.items():
            lines.append(_line(key, inner, reasons.get(f"{name}.{key}") or _meaning(section, key), indent="  "))
        parts.append("\n".join(lines))
    return "\n".join(parts) + "\n"


def _line(key: str, value: Any, comment: str, *, indent: str) -> str:
    """The key with its comment behind it or, where that is too long, above it."""
    line = f"{indent}{dump_line(key, value)}"
    if len(line) + len(comment) + 4 <= WIDTH:
        return f"{line}  # {comment}"
    return f"{_above(comment, indent)}\n{line}"


def _above(comment: str, indent: str) -> str:
    start = f"{indent}# "
    return textwrap.fill(comment, WIDTH, initial_indent=start, subsequent_indent=start, break_on_hyphens=False)


def _meaning(section: Section, key: str) -> str:
    return _first_sentence(type(section).model_fields[key].description or "")


def _first_sentence(text: str) -> str:
    """`Peak learning rate. More.` as `peak learning rate`; names such as SGD keep their letters."""
    found = _SENTENCE.match(" ".join(text.split()))
    sentence = found[1] if found else ""
    return sentence[:1].lower() + sentence[1:] if sentence[1:2].islower() or sentence[1:2] == " " else sentence
