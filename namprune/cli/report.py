"""namprune report: the trade-off between accuracy and cost over all runs, as tables, as a page and as figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer

from namprune import console
from namprune.cli import complete
from namprune.cli.next import suggest
from namprune.cli.options import RUNS, AsJson, Runs
from namprune.errors import UserError
from namprune.nearest import did_you_mean
from namprune.report import FORMATS, Plane, Report, RunDetail, collect, details, planes, to_json, to_tables
from namprune.runs import RunStore, write_atomic
from namprune.runs.files import reading, writing
from namprune.table import counted

Format = Literal["table", "md", "csv", "json", "latex", "html"]

PAGE = Path("report.html")
"""Where the page goes by default: it is too long for a terminal."""

SUFFIXES = {"tex": "latex", "htm": "html"}
"""Those that are no format's own name."""

OURS = b'<meta name="generator" content="namprune '
"""Stands near the top of every page that was written here."""


def report_command(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", autocompletion=complete.run_names, help="Which, else all."),
    ] = None,
    *,
    form: Annotated[
        Format | None, typer.Option("--format", metavar="NAME", help=f"{', '.join(get_args(Format))}.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it there, by its suffix as that format.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw figures for a paper there, as PNG and SVG.")
    ] = None,
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Compare runs: accuracy, MACs, parameters, latency, over seeds."""
    chosen = _format(form, output=output, as_json=as_json)
    store = RunStore(runs)
    collection = collect(store, names=names)
    report = Report.of(collection)
    plots = planes(report.rows) if figures or chosen == "html" else ()
    of_runs = details(store, collection) if (figures and names) or chosen == "html" else ()
    if figures:
        _draw(figures, plots, of_runs if names else ())
    if chosen == "html":
        _write_page(output or PAGE, report, plots, of_runs)
    elif output:
        _write(FORMATS[chosen](report), output, report)
    if as_json:
        console.output(to_json(report))
    elif not output and chosen == "table":
        for table in to_tables(report):
            console.show(table)
        if report.rows:
            suggest("report", *names or (), "--format", "html", runs=runs)
    elif not output and chosen != "html":
        console.output(FORMATS[chosen](report))


def _format(form: Format | None, *, output: Path | None, as_json: bool) -> str:
    if output is None:
        if as_json and form not in (None, "json"):
            raise UserError(f"report: --json and --format {form} exclude each other", hint="or write one to --output")
        return form or "table"
    suffix = output.suffix.removeprefix(".").lower()
    form_of_file = form or SUFFIXES.get(suffix, suffix)
    if form_of_file not in (*FORMATS, "html"):
        raise UserError(
            f"report: no file format {form_of_file!r} for --output {output}",
            hint=f"give --format; {did_you_mean(form_of_file, (*FORMATS, 'html'))}",
        )
    return form_of_file


def _write_page(target: Path, report: Report, plots: tuple[Plane, ...], of_runs: tuple[RunDetail, ...]) -> None:
    if target.is_file():
        with reading(target), target.open("rb") as file:
            if OURS not in file.read(8192):
                raise UserError(
                    f"report: {target} is there and is no report of namprune",
                    hint="give another place with --output, or delete it",
                )
    from namprune.report.html import to_html

    _write(to_html(report, plots, of_runs), target, report)
    console.message(f"open {target.resolve().as_uri()}")


def _draw(folder: Path, plots: Sequence[Plane], of_runs: Sequence[RunDetail]) -> None:
    from namprune.report.figures import figures

    if not plots:
        console.message("no plot: no run has an accuracy and a cost")
    with console.status("drawing"):
        for name, data in figures(plots, of_runs):
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
            write_atomic(folder / name, data)
            console.message(f"drawn: {folder / name}")


def _write(text: str, target: Path, report: Report) -> None:
    write_atomic(target, text.encode(errors="backslashreplace"))  # a name may hold what UTF-8 has not
    console.message(f"report of {counted(len(report.rows), 'row')} written to {target}")
