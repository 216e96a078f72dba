"""From a `Recipe` to text: YAML that reads back equal, the digest of the experiment, the JSON Schema."""

import hashlib
import json
from typing import Any, Literal

import yaml

from namprune.recipe.schema import Recipe
from namprune.recipe.tree import scalar

_LATER: dict[str, dict[str, Any]] = {
    "data": {"crop": "pad", "crop_scale": 0.08, "augment": "none"},
    "model": {"source": "namprune"},
    "attention": {"at": []},
    "sparsity": {"form": "l1", "share": 1.0, "remove_every": 0},
    "prune": {
        "target_macs": None,
        "target_params": None,
        "target_size": None,
        "target_latency": None,
        "max_drop": None,
        "bottlenecks": "auto",
        "latency_batch": 64,
        "score_batches": 16,
        "compensate": 0,
        "ratios": {},
        "keep": [],
        "steps": 1,
    },
    "train": {"accumulate": 1, "nonfinite": "stop", "mixup": 0.0, "cutmix": 0.0, "sync_bn": True},
    "finetune": {"distill": None, "accumulate": 1, "nonfinite": "stop", "mixup": 0.0, "cutmix": 0.0},
}
"""Keys that came after the first runs, at what was meant before: left out there, so that older runs are recognized."""


class _Dumper(yaml.SafeDumper):
    """Quotes also the words that only our reader takes for numbers; keeps lists on one line."""


def _text(dumper: _Dumper, value: str) -> yaml.Node:
    style = None if isinstance(scalar(value), str) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _list(dumper: _Dumper, value: list[Any]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(list, _list)


def dump_recipe(recipe: Recipe) -> str:
    """The resolved recipe as YAML with every key, in the order of the schema."""
    return yaml.dump(recipe.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False)


def dump_line(key: str, value: Any) -> str:
    """One key of a recipe with a value that is no section; `on` stays without the quotes that only YAML 1.1 needs."""
    text = yaml.dump({"key": value}, Dumper=_Dumper, width=10_000).removeprefix("key:").rstrip("\n")
    return f"{key}:{text}"


def recipe_digest(recipe: Recipe, *, kind: Literal["train", "prune"]) -> str:
    """SHA-256 of what the recipe says of an experiment: equal for its repetitions with another seed or elsewhere.

    Left out are the seed, where the pictures lie, where and how it runs but for the precision, and of a training run
    what comes after it.
    """
    repeated: dict[str, bool | set[str]] = {
        "seed": True,
        "data": {"root", "download"},
        "runtime": {"device", "channels_last", "compile", "deterministic", "save_every", "track"},
    }
    later: dict[str, bool | set[str]] = {"prune": True, "finetune": True} if kind == "train" else {}
    tree = recipe.model_dump(mode="json", exclude=repeated | later)
    if kind == "train" and recipe.sparsity.remove_every:
        narrowing = {"floor", "keep", "bottlenecks"}  # what says how narrow training may make the network
        tree["prune"] = recipe.prune.model_dump(mode="json", include=narrowing)
    for section, neutral in _LATER.items():
        if section in tree:
            keys = tree[section].items()
            tree[section] = {key: value for key, value in keys if key not in neutral or value != neutral[key]}
    if "ratios" in tree.get("prune", {}):
        tree["prune"]["ratios"] = [*tree["prune"]["ratios"].items()]  # the first pattern that matches holds
    canonical = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def recipe_schema() -> str:
    """JSON Schema of a recipe, for editors."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(dialect | Recipe.model_json_schema(), indent=2, ensure_ascii=False) + "\n"
