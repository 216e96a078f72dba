"""Figures as PNG and SVG, drawn without a screen; the door of matplotlib."""

import io
import textwrap
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

__all__ = ["Axes", "Curve", "Figure", "bar_pairs", "curves", "heat_map", "to_png"]

DPI = 150
COLOURS = "Blues"
"""One hue from white to dark: the same to all eyes."""

Dash: TypeAlias = str | tuple[int, tuple[float, ...]]
"""What matplotlib takes for one."""

NARROW, WIDE = 3.5, 7.0
"""Inches across one column of a paper, and two."""
MARKERS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "triangle-down": "v",
    "triangle-left": "<",
    "pentagon": "p",
    "hexagon": "h",
    "cross": "P",
    "x": "X",
    "star": "*",
}
DASHES: tuple[Dash, ...] = ("-", "--", ":", "-.", (0, (8, 1.5, 1, 1.5, 1, 1.5)), (0, (1, 4)))
_PAPER: dict[Any, Any] = {
    "font.size": 8,
    "figure.titlesize": 8,
    "text.parse_math": False,  # a $ in a name is no formula
    "axes.linewidth": 0.6,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.5,
    "legend.handlelength": 3.5,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "namprune",  # the same figure is the same bytes
}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points over a cost, joined as they follow: `ys` and `spreads` (0 = none) in one unit, with how they are drawn."""

    name: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    spreads: tuple[float, ...]
    hollow: tuple[bool, ...]
    """Which points are drawn as outlines, because they are uncertain."""
    colour: str
    marker: str
    """A key of `MARKERS`."""


def to_png(figure: Figure) -> bytes:
    """The figure, cropped to what is drawn."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a box stands for what the font lacks
        figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight")
    return buffer.getvalue()


def heat_map(
    values: Sequence[Sequence[float]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    across: str,
    unit: str,
) -> bytes:
    """A PNG of a matrix: each cell with its number, the darker the more; what is below zero is as light as zero.

    `across` says what the columns are, `unit` what the numbers are.
    """
    matrix = np.asarray(values)  # (rows, columns)
    # the root of the values, because what is worth telling apart is near zero
    norm = PowerNorm(0.5, vmin=0, vmax=max(1.0, float(matrix.max())), clip=True)
    figure = Figure(figsize=(4 + 0.8 * len(columns), 1.6 + 0.28 * len(rows)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(matrix, cmap=COLOURS, norm=norm, aspect="auto")
    axes.set_title(title, fontsize=10, parse_math=False)  # a $ in a name is no formula
    axes.set_xticks(range(len(columns)), columns, fontsize=8)
    axes.set_xlabel(across, fontsize=9)
    axes.set_yticks(range(len(rows)), rows, fontsize=8, parse_math=False)
    for (row, column), value in np.ndenumerate(matrix):
        red, green, blue, _ = colormaps[COLOURS](norm(value))
        ink = "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.5 else "white"  # ITU-R BT.709
        axes.text(column, row, f"{value:z.1f}", ha="center", va="center", color=ink, fontsize=8)
    figure.colorbar(image, label=unit)
    return to_png(figure)


def curves(
    lines: Sequence[Curve], *, front: Sequence[tuple[float, float]], title: str, across: str, up: str, unit: str = ""
) -> dict[str, bytes]:
    """PNG and SVG of lines with their spreads as bands, and the `front` (x, y) that they reach as steps.

    The spread of a point alone is a bar. Lines of one colour differ in their dashes. `across` and `up` say what the
    axes are, `unit` that of x.
    """
    wide, legend_height = len(lines) > 4, 0.2 * len(lines)
    with _paper():
        size = (WIDE, max(3.2, 0.4 + legend_height)) if wide else (NARROW, 2.8 + legend_height)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        seen: Counter[str] = Counter()
        handles: list[Line2D] = []
        for line in lines:
            handles.append(_draw(axes, line, dashes=DASHES[seen[line.colour] % len(DASHES)]))
            seen[line.colour] += 1
        xs, ys = np.asarray(sorted(front)).T
        handles += axes.plot(xs, ys, drawstyle="steps-post", color="black", linewidth=0.8, linestyle=(0, (1, 1)))
        axes.plot(xs, ys, linestyle="", marker="o", markersize=8, markerfacecolor="none", markeredgecolor="black")
        figure.suptitle(_folded(title))
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.xaxis.set_major_formatter(EngFormatter(unit=unit))
        axes.locator_params(axis="x", nbins=8 if wide else 5)  # more would run into each other
        axes.grid(visible=True)
        place: dict[str, Any] = {"loc": "outside right upper" if wide else "outside lower center"}
        legend = figure.legend(handles, ["."] * len(handles), **place)
        for text, name in zip(legend.get_texts(), [*(line.name for line in lines), "Pareto front"], strict=True):
            text.set_text(_folded(name))  # set late: a legend passes over names that begin with _
        return _both(figure)


def bar_pairs(before: Sequence[int], after: Sequence[int], *, labels: Sequence[str], title: str) -> dict[str, bytes]:
    """PNG and SVG of two counts per row, one drawn over the other, from the top."""
    with _paper():
        figure = Figure(figsize=(NARROW, 1.2 + 0.16 * len(labels)), layout="constrained")
        axes = figure.subplots()
        axes.barh(range(len(labels)), before, color="#D0D0D0", label="before")
        axes.barh(range(len(labels)), after, color="#0072B2", height=0.5, label="after")
        axes.set_yticks(range(len(labels)), labels, fontsize=6)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.set_xlabel("channels")
        figure.suptitle(_folded(title))
        figure.legend(loc="outside lower center", ncols=2)
        return _both(figure)


def _folded(text: str) -> str:
    return textwrap.fill(text, 44)


def _draw(axes: Axes, line: Curve, *, dashes: Dash) -> Line2D:
    """Draw one line; gives what stands for it in the legend."""
    xs, ys, spreads = (np.asarray(values) for values in (line.xs, line.ys, line.spreads))
    alone = len(xs) == 1  # with no line to be seen, nor a band
    if alone and spreads.any():
        axes.errorbar(xs, ys, spreads, color=line.colour, linewidth=0.8, capsize=2)
    elif spreads.any():
        axes.fill_between(xs, ys - spreads, ys + spreads, color=line.colour, alpha=0.15, linewidth=0)
    look: dict[str, Any] = {"color": line.colour, "marker": MARKERS[line.marker], "markersize": 4.5, "linewidth": 1.0}
    (drawn,) = axes.plot(xs, ys, linestyle="" if alone else dashes, **look)
    hollow = np.asarray(line.hollow)
    axes.plot(xs[hollow], ys[hollow], linestyle="", markerfacecolor="white", **look)
    return drawn


@contextmanager
def _paper() -> Iterator[None]:
    """Sizes of a paper, and no warning of what a font lacks: a box stands for it."""
    with rc_context(_PAPER), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        yield


def _both(figure: Figure) -> dict[str, bytes]:
    """The figure by suffix, without the date."""
    found = {}
    for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix, dpi=2 * DPI, metadata=metadata)
        found[suffix] = buffer.getvalue()
    return found
