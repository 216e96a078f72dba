"""What the shell offers at the Tab key: names of runs, recipes, networks, and all that a recipe may say.

Nothing is offered where nothing can be read, and no name that a shell could take for more than a name.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import typer

from namprune.choices import AttentionName, CriterionName
from namprune.errors import NampruneError
from namprune.runs import RunStore

_PLAIN = re.compile(r"[A-Za-z0-9_./:=,+-]+")
_TORCHVISION_MODEL = re.compile(r"^@register_model\(.*\)\n(?:@.*\n)*def (\w+)", re.MULTILINE)


def run_names(context: typer.Context, incomplete: str) -> list[str]:
    """Of the runs in the folder that --runs names, as far as it is typed already."""
    with suppress(NampruneError):
        root = Path(context.params.get("runs") or "runs")
        return _offered((folder.name for folder in RunStore(root).folders()), incomplete)
    return []


def recipes(incomplete: str) -> list[str]:
    """Names of shipped recipes, then files and folders."""
    head, slash, _ = incomplete.rpartition("/")
    entries: list[Path] = []
    with suppress(OSError):
        entries = sorted(Path(head + slash or ".").iterdir())
    here = [
        f"{head}{slash}{entry.name}{'/' * entry.is_dir()}"
        for entry in entries
        if not entry.name.startswith(".") and (entry.is_dir() or entry.suffix in (".yaml", ".yml"))
    ]
    return [*([] if slash else shipped(incomplete)), *_offered(here, incomplete)]


def shipped(incomplete: str) -> list[str]:
    """Names of shipped recipes."""
    names = (file.name for file in files("namprune.recipes").iterdir())
    return _offered(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")), incomplete)


def models(incomplete: str) -> list[str]:
    """Networks of torchvision, read from its source, because to load it takes seconds; of others the source alone."""
    spec = find_spec("torchvision")
    places = spec.submodule_search_locations if spec else None
    texts = (file.read_text(encoding="utf-8") for place in places or () for file in Path(place).glob("models/*.py"))
    names = sorted(name for text in texts for name in _TORCHVISION_MODEL.findall(text))
    return _offered([*(f"torchvision:{name}" for name in names), "timm:", "python:"], incomplete)


def keys(incomplete: str) -> list[str]:
    """Of a recipe, up to the `=`, and behind it the words that the key may have."""
    schema = json.loads(files("namprune.recipes").joinpath("recipe.schema.json").read_text(encoding="utf-8"))
    words = dict(_leaves(schema, schema, ""))
    key, equals, _ = incomplete.partition("=")
    if not equals:
        return _offered((f"{key}=" for key in words), incomplete)
    return _offered((f"{key}={word}" for word in words.get(key, ())), incomplete)


def devices(incomplete: str) -> list[str]:
    """Kinds of devices: which there are is not known without torch."""
    return _offered(("auto", "cpu", "cuda", "mps"), incomplete)


def _listed(names: Sequence[str]) -> Callable[[str], list[str]]:
    """Some of the names, with commas between."""

    def complete(incomplete: str) -> list[str]:
        head, comma, _ = incomplete.rpartition(",")
        return _offered((f"{head}{comma}{name}" for name in names if name not in head.split(",")), incomplete)

    return complete


attentions = _listed(get_args(AttentionName))
criteria = _listed(get_args(CriterionName))


def _offered(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete) and _PLAIN.fullmatch(name)]


def _leaves(node: dict[str, Any], schema: dict[str, Any], path: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Key paths of a JSON Schema, and the words that it lists for each."""
    sections = list(_branches(node, schema))
    found: dict[str, list[dict[str, Any]]] = {}
    for section in sections:
        for name, child in section.get("properties", {}).items():
            found.setdefault(name, []).append(child)
    if not found:
        words = (word for section in sections for word in (*section.get("enum", ()), section.get("const")))
        yield path, tuple(dict.fromkeys(word for word in words if isinstance(word, str)))
    for name, children in found.items():
        yield from _leaves({"anyOf": children}, schema, f"{path}.{name}" if path else name)


def _branches(node: dict[str, Any], schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a node of a JSON Schema may be."""
    if reference := node.get("$ref"):
        node = schema["$defs"][reference.rpartition("/")[2]]
    yield node
    for branch in (*node.get("oneOf", ()), *node.get("anyOf", ())):
        yield from _branches(branch, schema)
