"""The trade-off between accuracy and cost, read from the result.json of the runs alone, and the files that ship."""

from collections.abc import Callable

from namprune.report.collect import Collection, Flawed, collect
from namprune.report.files import ShippedFile, shipped_files
from namprune.report.formats import Report, to_csv, to_json, to_markdown, to_tables
from namprune.report.summary import LatencySummary, Row, summarise

__all__ = [
    "FORMATS",
    "Collection",
    "Flawed",
    "LatencySummary",
    "Report",
    "Row",
    "ShippedFile",
    "collect",
    "shipped_files",
    "summarise",
    "to_csv",
    "to_json",
    "to_markdown",
    "to_tables",
]

FORMATS: dict[str, Callable[[Report], str]] = {"md": to_markdown, "csv": to_csv, "json": to_json}
