"""In which way the network of a run is computed while it trains, and what determinism costs: said before it begins."""

from torch import nn

from namprune import console, signals
from namprune.data import Data
from namprune.recipe import Recipe
from namprune.stages.work import Work
from namprune.training import (
    Forward,
    Phase,
    forward_of,
    price_of_determinism,
    trial_batches,
    trial_of,
)


def forward_for(model: nn.Module, data: Data, recipe: Recipe, work: Work, *, phase: Phase) -> Forward:
    """What computes the network on its device, as `runtime.compile` says.

    `auto` is decided once for a run, by a trial: another way has other last digits, and they would be lost by going on
    in it after an interruption.
    """
    asked = recipe.runtime.compile
    if asked == "auto" and work.progress.way is None:
        with signals.at_once(), console.status("trying what computes the network fastest"):
            trial = trial_of(model, data, recipe, phase=phase)
        console.message(f"compile: {trial}")
        work.note(way=trial.fastest)
        return trial.forward
    return forward_of(model, work.progress.way or ("compile" if asked else "eager"))


def say_price(model: nn.Module, data: Data, recipe: Recipe, *, phase: Phase) -> None:
    """What `runtime.deterministic` costs on this device, where it is asked for."""
    device = next(model.parameters()).device
    if not recipe.runtime.deterministic:
        return
    if device.type == "cpu":
        console.message("deterministic: free on a CPU, where a training repeats to the bit with as many threads")
        return
    section = recipe.train if phase == "train" else recipe.finetune
    batches, precision = trial_batches(data, section), recipe.runtime.precision
    with signals.at_once(), console.status("measuring what determinism costs"):
        price = price_of_determinism(model, batches, precision=precision, device=device)
    console.message(f"deterministic: a step takes {price:.2f}x the time of one that is not")
