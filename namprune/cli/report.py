"""namprune report: the trade-off between accuracy and cost over all runs."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from namprune import console
from namprune.cli.options import RUNS, AsJson, Runs
from namprune.errors import UserError
from namprune.report import FORMATS, Report, collect, to_json, to_tables
from namprune.runs import RunStore, write_atomic

Format = Literal["table", "md", "csv", "json"]


def report_command(
    names: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Runs; default: all.")] = None,
    *,
    form: Annotated[Format | None, typer.Option("--format", help="Default: a table, or by the file's suffix.")] = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the report there.")] = None,
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Compare runs: accuracy, MACs, parameters and latency, averaged over seeds; and the files exported of them."""
    chosen = _format(form, output=output, as_json=as_json)
    report = Report.of(collect(RunStore(runs), names=names))
    if output:
        write_atomic(output, FORMATS[chosen](report))
        console.message(f"report of {len(report.rows)} rows written to {output}")
    if as_json:
        console.print_json(json.loads(to_json(report)))
    elif not output and chosen == "table":
        for table in to_tables(report):
            console.show(table)
    elif not output:
        console.output(FORMATS[chosen](report))


def _format(form: Format | None, *, output: Path | None, as_json: bool) -> str:
    if output is None:
        if as_json and form not in (None, "json"):
            raise UserError(f"report: --json and --format {form} exclude each other", hint="or write one to --output")
        return form or "table"
    form_of_file = form or output.suffix.removeprefix(".")
    if form_of_file not in FORMATS:
        raise UserError(
            f"report: no file format {form_of_file!r} for --output {output}",
            hint=f"give --format, one of {', '.join(FORMATS)}",
        )
    return form_of_file
