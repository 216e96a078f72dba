"""namprune doctor: what is installed, what works, and how to get what is missing."""

import dataclasses

import typer

from namprune import console
from namprune.cli.next import suggest, suggest_for_newest
from namprune.cli.options import RUNS, AsJson, DataRoot, Runs
from namprune.result.checkup import Finding
from namprune.runs import RunStore
from namprune.table import Table


def doctor_command(*, data: DataRoot = None, runs: Runs = RUNS, as_json: AsJson = False) -> None:
    """Say what works here, and how to get what is missing."""
    with console.status("looking at this machine"):
        from namprune.stages.doctor import doctor

        found = doctor(runs=runs, data=data)
    broken = [finding for finding in found if finding.state == "broken"]
    if as_json:
        console.print_json({"works": not broken, "findings": [dataclasses.asdict(finding) for finding in found]})
    else:
        console.show(_table(found))
    if broken:
        raise typer.Exit(1)
    if not as_json:
        if data is None:
            suggest_for_newest(RunStore(runs))
        else:
            suggest("init", "--data", data)


def _table(found: tuple[Finding, ...]) -> Table:
    rows = tuple((one.state, one.area, one.name, _words(one)) for one in found)
    columns = ("State", "Area", "What", "Found")
    return Table("What namprune finds here", columns=columns, rows=rows, text_columns=len(columns))


def _words(one: Finding) -> str:
    return f"{one.found}; {one.remedy}" if one.remedy else one.found
