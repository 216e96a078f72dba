"""Options that stand for recipe keys: they go through the recipe's own checker, and faults name the option."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from namprune.errors import RecipeError

if TYPE_CHECKING:
    from namprune.recipe import Recipe

KEYS = {
    "--data": "data.root",
    "--model": "model",
    "--device": "runtime.device",
    "--precision": "runtime.precision",
    "--deterministic": "runtime.deterministic",
    "--track": "runtime.track",
    "--ratio": "prune.ratio",
    "--target-macs": "prune.target_macs",
    "--target-params": "prune.target_params",
    "--target-latency": "prune.target_latency",
    "--target-size": "prune.target_size",
    "--max-drop": "prune.max_drop",
    "--criterion": "prune.criterion",
    "--scope": "prune.scope",
    "--round-to": "prune.round_to",
    "--steps": "prune.steps",
}
"""The recipe key that each option sets."""


def resolve(source: str, *, sets: Sequence[str] | None, options: Mapping[str, object]) -> "Recipe":
    """The recipe at `source` under `--set` and the options that were given.

    An option outranks a `--set`, but for `--model`, which stands for a whole section that a `--set` may add to.

    Raises:
        RecipeError: the recipe or a value does not hold.
    """
    from namprune.recipe import load_recipe

    # JSON quotes a text so that YAML reads it as that text, whatever it looks like
    given = {
        option: f"{KEYS[option]}={json.dumps(value, ensure_ascii=False)}"
        for option, value in options.items()
        if value is not None
    }
    try:
        section = [text for option, text in given.items() if option == "--model"]
        rest = [text for option, text in given.items() if option != "--model"]
        return load_recipe(source, overrides=(*section, *(sets or ()), *rest))
    except RecipeError as error:
        faults = tuple(_in_words_of_options(fault, given) for fault in error.faults)
        raise RecipeError(source, faults, hint=error.hint) from error


def _in_words_of_options(fault: str, given: Mapping[str, str]) -> str:
    for option, override in given.items():
        value = override.partition("=")[2]
        fault = fault.replace(f"--set {override}:", f"{option} {value}:")
    return fault
