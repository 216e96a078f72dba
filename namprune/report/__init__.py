"""The trade-off between accuracy and cost, and what else the folders of the runs tell; nothing is computed anew."""

from collections.abc import Callable

from namprune.report.collect import Collection, Flawed, collect
from namprune.report.details import LayerWidth, RunDetail, SensitivityMap, details
from namprune.report.files import ShippedFile, shipped_files
from namprune.report.formats import Report, to_csv, to_json, to_markdown, to_tables
from namprune.report.latex import to_latex
from namprune.report.summary import LatencySummary, Row, summarise
from namprune.report.tradeoff import Line, Plane, Point, planes

__all__ = [
    "FORMATS",
    "Collection",
    "Flawed",
    "LatencySummary",
    "LayerWidth",
    "Line",
    "Plane",
    "Point",
    "Report",
    "Row",
    "RunDetail",
    "SensitivityMap",
    "ShippedFile",
    "collect",
    "details",
    "planes",
    "shipped_files",
    "summarise",
    "to_csv",
    "to_json",
    "to_latex",
    "to_markdown",
    "to_tables",
]

FORMATS: dict[str, Callable[[Report], str]] = {
    "md": to_markdown,
    "csv": to_csv,
    "json": to_json,
    "latex": to_latex,
}
"""Those that say what `Report` says; the page (`namprune.report.html`) and the figures (`.figures`) load more."""
