"""The trade-off between accuracy and cost, read from the result.json of the runs alone."""

from collections.abc import Callable

from namprune.report.collect import Collection, Flawed, collect
from namprune.report.formats import to_csv, to_json, to_markdown, to_table
from namprune.report.summary import LatencySummary, Row, summarise

__all__ = [
    "FORMATS",
    "Collection",
    "Flawed",
    "LatencySummary",
    "Row",
    "collect",
    "summarise",
    "to_csv",
    "to_json",
    "to_markdown",
    "to_table",
]

FORMATS: dict[str, Callable[..., str]] = {"md": to_markdown, "csv": to_csv, "json": to_json}
