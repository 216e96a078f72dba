"""namprune runs: what is in the folder of runs."""

import dataclasses

import typer

from namprune import console
from namprune.cli.frame import Command
from namprune.cli.next import suggest_for, suggest_for_newest
from namprune.cli.options import RUNS, AsJson, RunName, Runs
from namprune.cli.outcome import stages_table
from namprune.errors import RunError
from namprune.report.summary import short
from namprune.result import RunResult
from namprune.runs import RunFolder, RunStore
from namprune.table import MISSING, Table, counted, duration, minute, percent, quantity

runs_app = typer.Typer(help="List the runs, or show one.", invoke_without_command=True)


@runs_app.callback()
def list_command(context: typer.Context, *, runs: Runs = RUNS, as_json: AsJson = False) -> None:
    """List the runs, or show one."""
    if context.invoked_subcommand:
        if as_json or runs != RUNS:
            raise typer.BadParameter(f"options go after {context.invoked_subcommand}")
        return
    store = RunStore(runs)
    folders = store.folders()
    if as_json:
        console.print_json({"runs": [_summary(folder) for folder in folders]})
    elif folders:
        console.show(_listing(runs_name=str(runs), folders=folders))
        suggest_for_newest(store)
    else:
        console.message(f"no runs in {runs}; `namprune train --recipe quickstart` makes one")


@runs_app.command("show", cls=Command)
def show_command(name: RunName, *, runs: Runs = RUNS, as_json: AsJson = False) -> None:
    """Show one run, after its files were checked against their digests."""
    store = RunStore(runs)
    folder = store.open(name)
    folder.verify()
    result = folder.result()
    if as_json:
        console.print_json({"path": str(folder.path), **dataclasses.asdict(result)})
        return
    console.show(_particulars(result))
    console.show(stages_table(result, title="Stages"))
    suggest_for(folder, store=store)


def _summary(folder: RunFolder) -> dict[str, object]:
    state, begun = folder.state(), folder.begun_as()
    result = folder.result() if state == "finished" else None
    known = result or begun
    final = result.final if result else None
    return {
        "name": folder.name,
        "state": state,
        "problem": folder.problem(),
        "kind": known.kind if known else None,
        "parent": known.parent if known else None,
        "created": result.created if result else None,
        "data": result.data if result else None,
        "model": result.model if result else None,
        "attention": result.attention if result else None,
        "test_top1": final.test.top1 if final and final.test else None,
        "macs": final.complexity.macs if final else None,
    }


def _listing(*, runs_name: str, folders: tuple[RunFolder, ...]) -> Table:
    columns = ("Run", "State", "Kind", "Network", "Created (UTC)", "Test top-1 %", "MACs")
    rows, notes = [], []
    for folder in folders:
        try:
            rows.append(_finished(folder.result()))
        except RunError as error:
            begun = folder.begun_as()
            kind = begun.kind if begun else MISSING
            rows.append((folder.name, folder.state(), kind, *[MISSING] * (len(columns) - 3)))
            notes.append(f"{error.message}; {error.hint}")
    return Table(f"Runs in {runs_name}", columns=columns, rows=tuple(rows), text_columns=5, notes=tuple(notes))


def _finished(result: RunResult) -> tuple[str, ...]:
    test = result.final.test
    return (
        result.name,
        "finished",
        result.kind,
        f"{result.model}, {short(result.attention)}",
        minute(result.created),
        percent(test.top1 if test else None),
        quantity(result.final.complexity.macs),
    )


def _particulars(result: RunResult) -> Table:
    cut = result.cut
    pairs = {
        "kind": result.kind,
        "created": f"{minute(result.created)} UTC",
        "parent": result.parent or MISSING,
        "dense ancestor": result.dense or MISSING,
        "network": f"{result.model}, attention {result.attention}",
        "data": f"{result.data}, {len(result.classes)} classes, {'x'.join(map(str, result.input_shape))}",
        "seed": str(result.seed),
        "epochs": f"{result.epochs} at {result.images_per_second:,.0f} pictures/s, {duration(result.seconds)} in all",
        "cut": f"{cut.aim} {cut.criterion} {cut.scope}" if cut else MISSING,
        "channels": f"{cut.channels_before} to {cut.channels_after}" if cut else MISSING,
        "left alone": "; ".join(f"{layer} ({why})" for layer, why in cut.skipped.items()) if cut else MISSING,
        "device": f"{result.environment.device}, {counted(result.environment.threads, 'thread')}",
        "versions": ", ".join(f"{name} {version}" for name, version in result.environment.versions.items()),
        "recipe digest": result.recipe_digest,
        "data digest": result.data_digest,
        "files": f"{len(result.files)}, as the run wrote them",
    }
    return Table(f"Run {result.name}", columns=("", ""), rows=tuple(pairs.items()), text_columns=2)
