"""The report as one page that needs nothing else: no server, no network, no other file.

The page is 4.8 MB larger than what it shows, which is plotly's JavaScript: it draws the plots when they come into view.
Its text is put in by the template, which escapes it. Its Content-Security-Policy allows the three scripts of the page,
by their hashes, and no request at all; styles are allowed as plotly writes them.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from itertools import groupby
from typing import Any, TypeAlias

import jinja2
import plotly
from markupsafe import Markup

from namprune.report import plots, sections
from namprune.report.details import RunDetail
from namprune.report.formats import Report
from namprune.report.tradeoff import Plane
from namprune.report.tradeoff_plot import cost_name, remarks, trade_off
from namprune.report.verdict import RULE, verdicts
from namprune.table import Table

Data: TypeAlias = dict[str, dict[str, Any]]
"""Figures and tables by their keys, which become the page's block of JSON."""

EARLY = 'document.documentElement.classList.add("js");'
"""Runs before the page is shown, so that what needs scripts is not seen to jump."""


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A plot of the page."""

    key: str
    """Of its figure in the data."""
    title: str
    height: int
    numbers: bool = False
    """Whether the table of its numbers is in the data, under the same key."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A trade-off over one of the costs that the reader chooses from."""

    cost: str
    plot: Plot
    remarks: str
    lines: tuple[tuple[str, int, int], ...]
    """Their names, and the places of the line and its band among what is drawn."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A run with its plots."""

    detail: RunDetail
    plots: tuple[Plot, ...]
    same: tuple[tuple[int, str], ...]
    """The runs of the same experiment, by their places."""
    experiment: str


def to_html(report: Report, planes: tuple[Plane, ...], details: tuple[RunDetail, ...]) -> str:
    """The page. The same runs give the same bytes."""
    data: Data = {"figures": {}, "tables": {}}
    groups = _groups(planes, data)
    runs = _runs(report, details, data)
    scripts = {"plotly": _plotly(), "page": Markup(_part("page.js")), "early": Markup(EARLY)}  # noqa: S704
    found = verdicts(report.rows)
    stands = [verdict.stands for verdict in found]
    return _template().render(
        generator=f"namprune {version('namprune')}",
        policy=_policy(scripts.values()),
        scripts=scripts,
        style=Markup(_part("page.css")),  # noqa: S704
        data=Markup(_block(data)),  # noqa: S704
        report=report,
        groups=groups,
        runs=runs,
        places={run.detail.result.name: place for place, run in enumerate(runs)},
        rule=RULE,
        verdicts=sections.by_place(found),
        tones={tone: stands.count(tone) for tone in ("ahead", "level", "behind")},
        grid=sections.experiments(report),
        files=sections.shipped(report),
        subjects=sorted({f"{row.model} on {row.data}" for row in report.rows}),
        sections=sections,
    )


def _groups(planes: Sequence[Plane], data: Data) -> list[tuple[str, list[Choice]]]:
    """The planes of each title together."""
    return [
        (title, [_choice(plane, data) for plane in alike])
        for title, alike in groupby(planes, key=lambda plane: plane.title)
    ]


def _choice(plane: Plane, data: Data) -> Choice:
    key, cost = f"plane-{len(data['figures'])}", cost_name(plane)
    figure = data["figures"][key] = trade_off(plane)
    places = {trace["uid"]: place for place, trace in enumerate(figure["data"])}
    return Choice(
        cost=cost,
        plot=Plot(key=key, title=f"Top-1 over {cost}", height=figure["layout"]["height"]),
        remarks=remarks(plane),
        lines=tuple((line.name, places[f"line{i}"], places[f"band{i}"]) for i, line in enumerate(plane.lines)),
    )


def _runs(report: Report, details: Sequence[RunDetail], data: Data) -> tuple[Shown, ...]:
    places = {detail.result.name: place for place, detail in enumerate(details)}
    rows = {name: row for row in report.rows for name in row.runs}
    found = []
    for place, detail in enumerate(details):
        row = rows.get(detail.result.name)
        own = tuple(_plots(detail, f"run-{place}", data))
        same = tuple((places[name], name) for name in (row.runs if row else ()) if name in places)
        experiment = f"{row.model}, {row.attention}, {row.point}" if row else detail.result.model
        found.append(Shown(detail=detail, plots=own, same=same, experiment=experiment))
    return tuple(found)


def _plots(detail: RunDetail, prefix: str, data: Data) -> Iterator[Plot]:
    """The plots of a run, their figures and the tables of their numbers put into `data`."""
    for kind, title, figure, table in _figures(detail):
        key = f"{prefix}-{kind}"
        data["figures"][key] = figure
        if table:
            data["tables"][key] = {"columns": table.columns, "rows": table.rows}
        yield Plot(key=key, title=title, height=figure["layout"]["height"], numbers=bool(table))


def _figures(detail: RunDetail) -> Iterator[tuple[str, str, plots.Figure, Table | None]]:
    """What there is to draw of a run; one table has the numbers of all its curves."""
    epochs = detail.epochs
    if epochs:
        yield "loss", "Loss", plots.losses(epochs), sections.epoch_table(epochs)
        yield "accuracy", "Accuracy", plots.accuracies(epochs), None
    if any(record.gamma for record in epochs):
        yield "gamma", "Scale factors |γ| over training", plots.factors(epochs), None
    if detail.widths:
        title = "Channels of each layer, before and after"
        yield "widths", title, plots.widths(detail.widths), sections.width_table(detail.widths)
    if detail.sensitivity:
        title = "Sensitivity: points of validation top-1 lost, each layer cut alone"
        found = detail.sensitivity
        yield "sensitivity", title, plots.sensitivity(found), sections.sensitivity_table(found)


def _block(data: Data) -> str:
    """JSON that no text in it can end."""
    text = json.dumps(data, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(scripts: Iterable[str]) -> str:
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_part("page.html.j2"))


def _part(name: str) -> str:
    return files("namprune.report").joinpath("page", name).read_text(encoding="utf-8")


def _plotly() -> Markup:
    return Markup(files(plotly).joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8"))  # noqa: S704
