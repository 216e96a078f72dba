"""namprune compare: a recipe becomes a grid of runs and the table that compares them."""

import json
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar, get_args

import typer

from namprune import console
from namprune.choices import AttentionName, CriterionName
from namprune.cli.options import RUNS, AsJson, DataRoot, Device, Runs, Sets
from namprune.cli.overrides import resolve
from namprune.errors import UserError
from namprune.report import collect, summarise, to_json, to_table
from namprune.runs import RunStore

Item = TypeVar("Item")
Name = TypeVar("Name", bound=str)


def compare_command(
    *,
    recipe: Annotated[str | None, typer.Option(help="A recipe file, or the name of a shipped recipe.")] = None,
    attention: Annotated[str, typer.Option(metavar="NAME,...", help="Attentions.")] = "nam,se,cbam,sa,none",
    ratio: Annotated[
        str | None, typer.Option(metavar="RATIO,...", help="Shares of the channels to remove; default: the recipe's.")
    ] = None,
    target_macs: Annotated[
        str | None,
        typer.Option(metavar="SHARE,...", help="Shares of the MACs to keep, beside or in the place of ratios."),
    ] = None,
    criterion: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="What ranks the channels; default: the recipe's.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions, from the recipe's seed on.")] = 1,
    controls: Annotated[
        bool,
        typer.Option(
            "--controls",
            help="Beside NAM at equal MACs: no attention, a constant gate, random channels, L1 norm, uniform width, "
            "and the pruned shape from scratch. A ratio then means the MACs that it leaves when every layer loses it.",
        ),
    ] = False,
    sets: Sets = None,
    data: DataRoot = None,
    device: Device = None,
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Train and prune a grid attention x cut x criterion x seed; runs that are there already are not made again."""
    if recipe is None:
        raise UserError("compare: --recipe is missing", hint="`namprune recipes` lists those that are shipped")
    attentions = _listed("--attention", attention, _one_of(get_args(AttentionName)))
    ratios = _listed("--ratio", ratio, _share) if ratio is not None else ()
    shares = _listed("--target-macs", target_macs, _share) if target_macs is not None else ()
    criteria = _listed("--criterion", criterion, _one_of(get_args(CriterionName))) if criterion is not None else ()
    checked = resolve(recipe, sets=sets, options={"--data": data, "--device": device})
    from namprune.stages.compare import compare
    from namprune.stages.grid import cuts

    store = RunStore(runs)
    results = compare(
        checked,
        store=store,
        attentions=attentions,
        cuts=cuts(checked.prune, ratios=ratios, target_macs=shares, criteria=criteria),
        seeds=seeds,
        controls=controls,
    )
    collection = collect(store, names=[result.name for result in results])
    rows, flawed = summarise(collection), collection.flawed
    if as_json:
        console.print_json(json.loads(to_json(rows, flawed=flawed)))
    else:
        console.show(to_table(rows, flawed=flawed))


def _listed(option: str, text: str, read: Callable[[str], Item]) -> tuple[Item, ...]:
    """The members of a list with commas, each once.

    Raises:
        UserError: there is none, or `read` fails with ValueError on one.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise UserError(f"compare: {option} {text!r} names nothing", hint="give one or more, with commas between")
    try:
        return tuple(dict.fromkeys(map(read, words)))
    except ValueError as error:
        raise UserError(f"compare: {option} {text}: {error}") from None


def _one_of(known: Sequence[Name]) -> Callable[[str], Name]:
    def read(word: str) -> Name:
        for name in known:
            if name == word:
                return name
        raise ValueError(f"{word!r} is not one of {', '.join(known)}")

    return read


def _share(word: str) -> float:
    try:
        share = float(word)
    except ValueError:
        raise ValueError(f"{word!r} is not a number") from None
    if not 0 < share < 1:
        raise ValueError(f"{word} is not above 0 and below 1")
    return share
