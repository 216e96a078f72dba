"""namprune train: a recipe becomes a run."""

from typing import Annotated

import typer

from namprune.choices import AttentionName
from namprune.cli.options import RUNS, AsJson, DataRoot, Device, NewName, Runs, Sets
from namprune.cli.outcome import show_outcome, suggest
from namprune.cli.overrides import resolve
from namprune.errors import UserError
from namprune.runs import RunStore


def train_command(
    *,
    recipe: Annotated[str | None, typer.Option(help="A recipe file, or the name of a shipped recipe.")] = None,
    attention: Annotated[
        AttentionName | None, typer.Option(help="Attention in place of the recipe's, with its default options.")
    ] = None,
    sets: Sets = None,
    data: DataRoot = None,
    device: Device = None,
    name: NewName = None,
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Train the network of a recipe."""
    if recipe is None:
        raise UserError("train: --recipe is missing", hint="`namprune recipes` lists those that are shipped")
    store = RunStore(runs)
    if name is not None:
        store.unused(name)  # said before torch is loaded
    checked = resolve(recipe, sets=sets, options={"--data": data, "--device": device})
    if attention is not None:
        from namprune.recipe.variant import with_attention

        checked = with_attention(checked, attention)
    from namprune.stages.train import train

    result = train(checked, store=store, name=name)
    show_outcome(result, runs=runs, as_json=as_json)
    suggest(f"prune {result.name} --ratio {checked.prune.ratio:g}", runs=runs)
