"""namprune sensitivity: what every group of channels of a run costs when it alone is cut."""

import json
from typing import Annotated

import typer

from namprune import console
from namprune.cli.next import suggest
from namprune.cli.options import RUNS, AsJson, Criterion, DataRoot, Device, RunName, Runs, Sets
from namprune.cli.overrides import resolve
from namprune.errors import UserError
from namprune.runs import RunStore


def sensitivity_command(
    run: RunName,
    *,
    ratios: Annotated[
        str, typer.Option(metavar="SHARE,...", help="Of a group's channels, to remove.")
    ] = "0.1,0.3,0.5,0.7,0.9",
    criterion: Criterion = None,
    sets: Sets = None,
    data: DataRoot = None,
    device: Device = None,
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Measure what each group of channels costs when it alone is cut."""
    shares = _shares(ratios)
    folder = RunStore(runs).open(run)
    options = {"--criterion": criterion, "--data": data, "--device": device}
    recipe = resolve(str(folder.recipe), sets=sets, options=options)
    from namprune.stages.sensitivity import sensitivity

    found = sensitivity(folder, recipe, ratios=shares)
    if as_json:
        console.print_json(json.loads(found.to_json()))
    else:
        console.show(found.to_table(title=f"Sensitivity of {folder.name}"))
        suggest("prune", folder.name, "--allocation", "sensitivity", runs=runs)


def _shares(text: str) -> list[float]:
    try:
        shares = [float(word) for word in text.split(",")]
    except ValueError:
        shares = []
    if shares and all(0 < share < 1 for share in shares):
        return shares
    raise UserError(
        f"sensitivity: --ratios {text!r} are not numbers above 0 and below 1",
        hint="give one or more with commas between, such as 0.1,0.3,0.5",
    )
