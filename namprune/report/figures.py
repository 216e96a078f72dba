"""The figures of a report for a paper: the trade-off plots, and the widths of single runs."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from namprune.console import printable
from namprune.errors import UserError
from namprune.report.details import RunDetail
from namprune.report.palette import colour, marker
from namprune.report.tradeoff import Line, Plane

if TYPE_CHECKING:
    from namprune.figure import Curve

LONGEST = 60
"""Characters of a name that are shown: a figure has no room for more."""


def figures(planes: Sequence[Plane], details: Sequence[RunDetail] = ()) -> Iterator[tuple[str, bytes]]:
    """Names and contents of files: each plot, and the widths of each of the runs that was cut, as PNG and as SVG.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from namprune import figure
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        raise UserError(
            "report: figures are drawn with matplotlib, which is not installed", hint="pip install 'namprune[figures]'"
        ) from error
    taken: set[str] = set()
    for plane in planes:
        lines = [_curve(line) for line in plane.lines]
        points = [point for line in plane.lines for point in line.points]
        drawn = figure.curves(
            lines,
            front=sorted({(point.cost, 100 * point.top1) for point in points if point.front}),
            title=_shown(plane.title),
            across=_across(plane, noisy=any(point.noisy for point in points)),
            up="test top-1, %",
            unit="" if plane.cost == "macs" else "s",
        )
        kind = "macs" if plane.batch is None else f"latency-b{plane.batch}"
        yield from _files(f"{slug(plane.title)}-{kind}", drawn, taken)
    for detail in details:
        if widths := detail.widths:
            drawn = figure.bar_pairs(
                [width.before for width in widths],
                [width.after for width in widths],
                labels=[_shown(width.layer) for width in widths],
                title=_shown(detail.result.name),
            )
            yield from _files(f"widths-{slug(detail.result.name)}", drawn, taken)


def slug(text: str) -> str:
    """A file's name on every system from any text: small letters, digits and dashes."""
    ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", ascii_only)[:LONGEST].strip("-") or "unnamed"


def _files(stem: str, drawn: dict[str, bytes], taken: set[str]) -> Iterator[tuple[str, bytes]]:
    """Under a name that no other figure has."""
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name)
    yield from ((f"{name}.{suffix}", data) for suffix, data in drawn.items())


def _curve(line: Line) -> "Curve":
    from namprune.figure import Curve

    return Curve(
        name=_shown(line.name),
        xs=tuple(point.cost for point in line.points),
        ys=tuple(100 * point.top1 for point in line.points),
        spreads=tuple(100 * (point.spread or 0.0) for point in line.points),
        hollow=tuple(point.noisy for point in line.points),
        colour=colour(line.attention),
        marker=marker(line.attention, scratch=line.scratch),
    )


def _across(plane: Plane, *, noisy: bool) -> str:
    if plane.batch is None:
        return "multiply-accumulates of one picture"
    return f"forward pass, batch {plane.batch}" + ("\n(hollow: inter-quartile range above 10 %)" if noisy else "")


def _shown(text: str) -> str:
    """On one line, and no longer than there is room for."""
    flat = " ".join(printable(text).split())
    return flat if len(flat) <= LONGEST else f"{flat[: LONGEST - 1]}…"
