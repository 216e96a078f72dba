"""namprune prune: a run becomes a smaller one."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from namprune import console
from namprune.choices import Scope
from namprune.cli import complete
from namprune.cli.given import Model, Weights, model_section, taken_in
from namprune.cli.next import suggest_again, suggest_for
from namprune.cli.options import (
    CUT,
    RUNS,
    AsJson,
    Criterion,
    DataRoot,
    Deterministic,
    Device,
    NewName,
    PrecisionName,
    Resume,
    Runs,
    Sets,
    Track,
)
from namprune.cli.outcome import show_outcome
from namprune.cli.overrides import resolve
from namprune.cli.resume import reject, resumed
from namprune.errors import UserError
from namprune.runs import RunFolder, RunStore

if TYPE_CHECKING:
    from namprune.pruning import PruningPlan
    from namprune.recipe import Recipe

PrunedRun = Annotated[
    str | None,
    typer.Argument(metavar="RUN", autocompletion=complete.run_names, help="Which, else the newest trained one."),
]
Allocation = Annotated[
    Scope | None,
    typer.Option(
        "--scope",
        "--allocation",
        metavar="NAME",
        rich_help_panel=CUT,
        help="global, local, or sensitivity (measured first).",
    ),
]
Ratio = Annotated[float | None, typer.Option(metavar="SHARE", rich_help_panel=CUT, help="Channels to remove: 0.3.")]
ShareOfParams = Annotated[float | None, typer.Option(metavar="SHARE", rich_help_panel=CUT, help="Parameters to keep.")]
Size = Annotated[str | None, typer.Option(metavar="SIZE", rich_help_panel=CUT, help="Of the weights: 2MB, 800kB.")]
Steps = Annotated[int | None, typer.Option(metavar="N", rich_help_panel=CUT, help="Cuts, fine-tuned between.")]
ShareOfMacs = Annotated[
    float | None, typer.Option(metavar="SHARE", rich_help_panel=CUT, help="MACs to keep, in the place of --ratio.")
]
Milliseconds = Annotated[
    str | None,
    typer.Option(metavar="TIME", rich_help_panel=CUT, help="Forward pass: 5ms, or 0.6 of that before."),
]
Points = Annotated[
    float | None,
    typer.Option(metavar="POINTS", rich_help_panel=CUT, help="Of accuracy that it may cost before fine-tuning."),
]
Multiple = Annotated[
    str | None, typer.Option(metavar="N", rich_help_panel=CUT, help="Multiples of this stay; auto: what is fast.")
]
Rest = Annotated[
    str | None,
    typer.Option(metavar="NAME", autocompletion=complete.recipes, help="With --model: a recipe that says the rest."),
]


def prune_command(
    run: PrunedRun = None,
    *,
    model: Model = None,
    weights: Weights = None,
    recipe: Rest = None,
    ratio: Ratio = None,
    target_macs: ShareOfMacs = None,
    target_params: ShareOfParams = None,
    target_latency: Milliseconds = None,
    target_size: Size = None,
    max_drop: Points = None,
    criterion: Criterion = None,
    scope: Allocation = None,
    round_to: Multiple = None,
    steps: Steps = None,
    resume: Resume = False,
    sets: Sets = None,
    data: DataRoot = None,
    device: Device = None,
    precision: PrecisionName = None,
    deterministic: Deterministic = None,
    track: Track = None,
    name: NewName = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and make no run.")] = False,
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Remove channels from a trained network, and fine-tune what is left."""
    store = RunStore(runs)
    section = model_section(model, weights)
    if name is not None:
        store.unused(name)  # said before torch is loaded
    shares = {"--ratio": ratio, "--target-macs": target_macs, "--target-params": target_params}
    measures = {"--target-latency": target_latency, "--target-size": target_size, "--max-drop": max_drop}
    choices = {"--criterion": criterion, "--scope": scope, "--round-to": round_to, "--steps": steps}
    where = {"--data": data, "--device": device, "--precision": precision, "--deterministic": deterministic}
    options: dict[str, object] = {**shares, **measures, **choices, **where, "--track": track}
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
            if not as_json:
                suggest_again(without="--dry-run")
            return
        result = prune(parent, checked, store=store, name=name)
    show_outcome(result, runs=runs, as_json=as_json)
    if not as_json:
        suggest_for(store.open(result.name), store=store)


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
