"""A picture beside class-activation maps of it, as a PNG."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from namprune.figure import Axes, Figure, to_png

INCHES = 3.0
"""Side of a panel."""

COLOURS = "turbo"
LETTERS = 38
"""That fit above a panel."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A map over the picture: (H, W) in [0, 1]. `title` is a line of its own for each of its lines."""

    title: str
    heat: Tensor


def draw(picture: Tensor, panels: Sequence[Panel], *, title: str, caption: str) -> bytes:
    """A PNG of the picture, uint8 (H, W, 1 or 3), under its title, and of each map over it; the caption below all."""
    pixels = np.broadcast_to(picture.numpy(), (*picture.shape[:2], 3))  # grey as three equal channels
    figure = Figure(figsize=(INCHES * (1 + len(panels)), 1.22 * INCHES), layout="constrained")
    first, *others = figure.subplots(1, 1 + len(panels), squeeze=False)[0]
    _show(first, pixels, title)
    for axes, panel in zip(others, panels, strict=True):
        _show(axes, pixels, panel.title)
        heat = panel.heat.numpy()
        # where the map is low the picture shows through; never all of it goes
        axes.imshow(heat, cmap=COLOURS, vmin=0, vmax=1, alpha=0.15 + 0.5 * heat, interpolation="bilinear")
    figure.supxlabel(caption, fontsize=9, parse_math=False)
    return to_png(figure)


def _show(axes: Axes, pixels: NDArray[np.uint8], title: str) -> None:
    lines = [part for line in title.splitlines() for part in textwrap.wrap(line, LETTERS)]
    axes.imshow(pixels, interpolation="nearest")
    axes.set_title("\n".join(lines), fontsize=9, parse_math=False)  # a $ in a name is no formula
    axes.set_axis_off()
