"""Figures as PNG, drawn without a screen; the door of matplotlib."""

import io
import warnings
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

__all__ = ["Axes", "Figure", "heat_map", "to_png"]

DPI = 150
COLOURS = "Blues"
"""One hue from white to dark: the same to all eyes."""


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
