"""namprune prune: a run becomes a smaller one."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from namprune import console
from namprune.choices import CriterionName, Scope
from namprune.cli.given import Model, Weights, model_section, taken_in
from namprune.cli.options import (
    RUNS,
    AsJson,
    DataRoot,
    Deterministic,
    Device,
    NewName,
    PrecisionName,
    Resume,
    Runs,
    Sets,
)
from namprune.cli.outcome import show_outcome, suggest
from namprune.cli.overrides import resolve
from namprune.cli.resume import reject, resumed
from namprune.errors import UserError
from namprune.runs import RunFolder, RunStore

if TYPE_CHECKING:
    from namprune.pruning import PruningPlan
    from namprune.recipe import Recipe

PrunedRun = Annotated[
    str | None,
    typer.Argument(help="The run to prune, by default the newest trained one; with --resume the one to finish."),
]
Allocation = Annotated[
    Scope | None,
    typer.Option(
        "--scope",
        "--allocation",
        help="One ranking over all layers, one for each, or what costs each the same accuracy, measured first.",
    ),
]
ShareOfMacs = Annotated[
    float | None, typer.Option(help="Share of the MACs to keep, in (0, 1); in the place of --ratio.")
]
Milliseconds = Annotated[
    str | None,
    typer.Option(help="Time of a forward pass, 5ms, or share of that before the cut, 0.6; measured here."),
]
Points = Annotated[
    float | None, typer.Option(help="Points of validation accuracy that the cut may cost before fine-tuning.")
]
Multiple = Annotated[
    str | None, typer.Option(help="Keep multiples of this many channels; auto: what the device is fast at.")
]

Rest = Annotated[
    str | None, typer.Option(help="With --model: a recipe file, or the name of a shipped one, that says the rest.")
]


def prune_command(
    run: PrunedRun = None,
    *,
    model: Model = None,
    weights: Weights = None,
    recipe: Rest = None,
    ratio: Annotated[float | None, typer.Option(help="Share of the channels to remove, in (0, 1).")] = None,
    target_macs: ShareOfMacs = None,
    target_params: Annotated[float | None, typer.Option(help="Share of the parameters to keep, in (0, 1).")] = None,
    target_latency: Milliseconds = None,
    target_size: Annotated[str | None, typer.Option(help="Size of the weights, such as 2MB or 800kB.")] = None,
    max_drop: Points = None,
    criterion: Annotated[CriterionName | None, typer.Option(help="What ranks the channels.")] = None,
    scope: Allocation = None,
    round_to: Multiple = None,
    steps: Annotated[int | None, typer.Option(help="Cuts to spread it over, with fine-tuning between.")] = None,
    resume: Resume = False,
    sets: Sets = None,
    data: DataRoot = None,
    device: Device = None,
    precision: PrecisionName = None,
    deterministic: Deterministic = None,
    name: NewName = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and make no run.")] = False,
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Remove channels from a trained network and fine-tune it, by the recipe of its run; or from one made elsewhere."""
    store = RunStore(runs)
    section = model_section(model, weights)
    if name is not None:
        store.unused(name)  # said before torch is loaded
    shares = {"--ratio": ratio, "--target-macs": target_macs, "--target-params": target_params}
    measures = {"--target-latency": target_latency, "--target-size": target_size, "--max-drop": max_drop}
    choices = {"--criterion": criterion, "--scope": scope, "--round-to": round_to, "--steps": steps}
    where = {"--data": data, "--device": device, "--precision": precision, "--deterministic": deterministic}
    options: dict[str, object] = {**shares, **measures, **choices, **where}
    if resume:
        reject("prune", {"--name": name, "--dry-run": dry_run, "--model": model, "--recipe": recipe})
        result = resumed(run, None, store=store, kinds=("prune",), sets=sets, options=options)
    else:
        if section is not None:
            parent, checked = taken_in(
                section, recipe, run=run, dry_run=dry_run, store=store, name=name, sets=sets, options=options
            )
        else:
            parent, checked = _parent(run, recipe, store=store, sets=sets, options=options)
        from namprune.stages.prune import plan, prune

        if dry_run:
            _show_plan(plan(parent, checked), as_json=as_json)
            return
        result = prune(parent, checked, store=store, name=name)
    show_outcome(result, runs=runs, as_json=as_json)
    suggest("report", runs=runs)


def _parent(
    run: str | None, recipe: str | None, *, store: RunStore, sets: Sequence[str] | None, options: Mapping[str, object]
) -> tuple[RunFolder, "Recipe"]:
    """The run to prune, and its recipe with what is said otherwise."""
    if recipe is not None:
        raise UserError("prune: --recipe is said without --model", hint="a run is pruned by its own: see --set")
    parent = store.open(run) if run is not None else _newest(store)
    return parent, resolve(str(parent.recipe), sets=sets, options=options)


def _show_plan(plan: "PruningPlan", *, as_json: bool) -> None:
    if as_json:
        console.print_json(json.loads(plan.to_json()))
    else:
        console.show(plan.to_table())


def _newest(store: RunStore) -> RunFolder:
    newest = store.newest(kind="train")
    console.message(f"pruning {newest.path}, the newest trained run")
    return newest
