"""namprune compare: a recipe becomes a grid of runs and the table that compares them."""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, TypeVar, get_args

import typer

from namprune import console
from namprune.choices import AttentionName, BackendName, CriterionName
from namprune.cli import complete
from namprune.cli.next import suggest
from namprune.cli.options import (
    OUTPUT,
    RUNS,
    AsJson,
    DataRoot,
    Deterministic,
    Device,
    PrecisionName,
    RecipeName,
    Runs,
    Sets,
    Track,
)
from namprune.cli.overrides import resolve
from namprune.errors import UserError
from namprune.nearest import nearest
from namprune.report import Report, collect, to_json, to_tables
from namprune.runs import RunStore

SHARES = "give one or more with commas between, such as 0.3,0.5"

Item = TypeVar("Item")
Name = TypeVar("Name", bound=str)

Attentions = Annotated[
    str | None, typer.Option(metavar="NAME,...", autocompletion=complete.attentions, help="Else nam,se,cbam,sa,none.")
]
Ratios = Annotated[str | None, typer.Option(metavar="SHARE,...", help="Of the channels, to remove; else the recipe's.")]
Shares = Annotated[
    str | None,
    typer.Option(metavar="SHARE,...", help="Of the MACs, to keep."),
]
Criteria = Annotated[
    str | None,
    typer.Option(metavar="NAME,...", autocompletion=complete.criteria, help="What ranks; else the recipe's."),
]
Seeds = Annotated[int | None, typer.Option(metavar="N", min=1, help="Repetitions, from the recipe's seed on.")]
Controls = Annotated[
    bool,
    typer.Option(
        "--controls",
        help="Beside NAM at equal MACs: six honest baselines.",
    ),
]
GoOn = Annotated[bool, typer.Option("--resume", help="Go on with the one begun last in --runs.")]
Backend = Annotated[
    BackendName,
    typer.Option(metavar="NAME", rich_help_panel=OUTPUT, help="local: one run after the other. ray: on a cluster."),
]
Address = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", rich_help_panel=OUTPUT, help="Head of the Ray cluster, or auto."),
]


def compare_command(
    *,
    recipe: RecipeName = None,
    attention: Attentions = None,
    ratio: Ratios = None,
    target_macs: Shares = None,
    criterion: Criteria = None,
    seeds: Seeds = None,
    controls: Controls = False,
    resume: GoOn = False,
    backend: Backend = "local",
    address: Address = None,
    sets: Sets = None,
    data: DataRoot = None,
    device: Device = None,
    precision: PrecisionName = None,
    deterministic: Deterministic = None,
    track: Track = None,
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Train and prune a grid of attentions, cuts and seeds, each once."""
    attentions = _listed("--attention", attention, _one_of(get_args(AttentionName)))
    ratios = _listed("--ratio", ratio, _share)
    shares = _listed("--target-macs", target_macs, _share)
    criteria = _listed("--criterion", criterion, _one_of(get_args(CriterionName)))
    where = {"--data": data, "--device": device, "--precision": precision, "--deterministic": deterministic}
    options: dict[str, object] = {**where, "--track": track}
    if recipe is None:
        _check_needs_no_recipe({"--set": sets, **options}, resume=resume)
    checked = resolve(recipe, sets=sets, options=options) if recipe is not None else None
    from namprune.stages.compare import compare
    from namprune.stages.comparison import Comparison, begun_in, check_equal, has_begun
    from namprune.stages.grid import cuts

    store = RunStore(runs)
    begun = begun_in(store) if checked is None or resume else Comparison(recipe=checked)
    own = checked or begun.recipe
    sizes = cuts(own.prune, ratios=ratios, target_macs=shares, criteria=criteria)
    given = {"recipe": own, "attentions": attentions, "seeds": seeds, "controls": controls}
    given["cuts"] = sizes if ratios or shares or criteria else ()
    asked = begun.model_copy(update={key: value for key, value in given.items() if value})
    if resume:
        check_equal(begun, asked, store)
    try:
        results = compare(asked, store=store, backend=backend, address=address)
    except KeyboardInterrupt:
        if has_begun(asked, store):
            console.warn(_how_to_go_on(store, backend, address))
        raise
    report = Report.of(collect(store, names=[result.name for result in results]))
    if as_json:
        console.print_json(json.loads(to_json(report)))
    else:
        for table in to_tables(report):
            console.show(table)
        suggest("report", "--format", "html", runs=runs)


def _check_needs_no_recipe(options: Mapping[str, object], *, resume: bool) -> None:
    """Raise UserError unless this goes on with a comparison, whose recipe is as it was."""
    if not resume:
        raise UserError("compare: --recipe is missing", hint="`namprune recipes` lists those that are shipped")
    if given := [option for option, value in options.items() if value is not None and value != []]:
        raise UserError(
            f"compare: {given[0]} is said beside --resume, which takes the recipe as it was",
            hint="leave it out, or say --recipe, too",
        )


def _how_to_go_on(store: RunStore, backend: str, address: str | None) -> str:
    words = ["namprune", "compare", "--resume"]
    words += ["--runs", str(store.root)] if store.root != RUNS else []
    words += ["--backend", backend] if backend != "local" else []
    words += ["--address", address] if address is not None else []
    return f"interrupted; to go on: {shlex.join(words)}"


def _listed(option: str, text: str | None, read: Callable[[str], Item]) -> tuple[Item, ...]:
    """The members of a list with commas, each once; none where no list is given.

    Raises:
        UserError: a list without members, or `read` fails with ValueError on one: what is wrong, a hint.
    """
    if text is None:
        return ()
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise UserError(f"compare: {option} {text!r} names nothing", hint="give one or more, with commas between")
    try:
        return tuple(dict.fromkeys(map(read, words)))
    except ValueError as error:
        wrong, hint = error.args
        raise UserError(f"compare: {option} {text}: {wrong}", hint=hint) from None


def _one_of(known: Sequence[Name]) -> Callable[[str], Name]:
    def read(word: str) -> Name:
        for name in known:
            if name == word:
                return name
        meant = nearest(word, known)
        raise ValueError(f"{word!r} is not one of {', '.join(known)}", f"did you mean {meant!r}?" if meant else None)

    return read


def _share(word: str) -> float:
    try:
        share = float(word)
    except ValueError:
        raise ValueError(f"{word!r} is not a number", SHARES) from None
    if not 0 < share < 1:
        raise ValueError(f"{word} is not above 0 and below 1", SHARES)
    return share
