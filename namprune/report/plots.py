"""The plots of a run as plotly figures, in plain dicts: the page's script draws them.

A colour that begins with `@` is one of the page's own, which differ in light and dark. Text that comes from a run goes
through `label`: plotly takes some HTML.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from namprune.report.details import LayerWidth, SensitivityMap
from namprune.result import EpochRecord

Figure: TypeAlias = dict[str, Any]

LEAST_SCALE = 5.0
"""Points at least that the heat map's darkest colour stands for: noise is not to look like a loss."""

ROOM = 1.25
"""Of the axis to the longest bar: its numbers stand behind it."""

_ROW = 21
"""Pixels of a bar or a row of a heat map."""


def losses(epochs: Sequence[EpochRecord]) -> Figure:
    """Cross-entropy over the epochs, on training and validation pictures."""
    series = (("training", "@train", [e.loss for e in epochs]), ("validation", "@val", [e.val.loss for e in epochs]))
    return _curves(epochs, series, title="Loss")


def accuracies(epochs: Sequence[EpochRecord]) -> Figure:
    """Top-1 over the epochs, on training and validation pictures."""
    series = (
        ("training", "@train", [100 * e.accuracy for e in epochs]),
        ("validation", "@val", [100 * e.val.top1 for e in epochs]),
    )
    return _curves(epochs, series, title="Top-1, %")


def factors(epochs: Sequence[EpochRecord]) -> Figure:
    """|γ| over the epochs: its mean, the band between the outer deciles, and below it the share near zero."""
    known = [(x, e.gamma) for x, e in enumerate(epochs, start=1) if e.gamma is not None]
    xs = [x for x, _ in known]
    top, bottom = ([number(getattr(g, which)) for _, g in known] for which in ("top_decile", "bottom_decile"))
    line: Figure = {"type": "scatter", "mode": "lines+markers", "x": xs, "marker": {"size": 5}}
    common = _over_epochs(epochs)
    return {
        "data": [
            {**polygon([*xs, *xs[::-1]], [*top, *bottom[::-1]], "@gamma-band"), "name": "outer deciles"},
            line | {"y": [number(g.mean) for _, g in known], "name": "mean |γ|", "line": {"color": "@gamma"}},
            line
            | {
                "y": [number(100 * g.near_zero) for _, g in known],
                "yaxis": "y2",
                "name": "near zero",
                "line": {"color": "@muted", "dash": "dot"},
            },
        ],
        "layout": common
        | {
            "xaxis": common["xaxis"] | {"anchor": "y2"},
            "yaxis": axis("|γ|", rangemode="tozero", domain=[0.4, 1]),
            "yaxis2": axis("near 0, %", range=[-4, 104], tickvals=[0, 50, 100], domain=[0, 0.24]),
        },
    }


def widths(layers: Sequence[LayerWidth]) -> Figure:
    """Channels of each group before and after, one bar over the other."""
    bar: Figure = {"type": "bar", "orientation": "h", "y": list(range(len(layers))), "hoverinfo": "text"}
    hover = [f"{label(layer.layer)}<br>{layer.after} of {layer.before} channels stay" for layer in layers]
    before = {
        "x": [layer.before for layer in layers],
        "name": "before",
        "width": 0.78,
        "text": [f"{layer.after} / {layer.before}" for layer in layers],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": "@before"},
    }
    after = {"x": [layer.after for layer in layers], "name": "after", "width": 0.42, "marker": {"color": "@val"}}
    return {
        "data": [bar | before | {"hovertext": hover}, bar | after | {"hovertext": hover}],
        "layout": {
            "height": 110 + _ROW * len(layers),
            "barmode": "overlay",
            "xaxis": axis("Channels", range=[0, ROOM * max(layer.before for layer in layers)]),
            "yaxis": _names([layer.layer for layer in layers]),
        },
    }


def sensitivity(found: SensitivityMap) -> Figure:
    """Points of validation accuracy that each group costs, cut alone, as a heat map."""
    points = [[number(value) for value in row] for row in found.points]
    return {
        "data": [
            {
                "type": "heatmap",
                "z": points,
                "text": [["" if value is None else f"{value:.1f}" for value in row] for row in points],
                "texttemplate": "%{text}",
                "hoverinfo": "z",
                "colorscale": [[0, "@heat-low"], [0.5, "@heat-mid"], [1, "@heat-high"]],
                "zmin": 0,
                "zmax": max(LEAST_SCALE, *(value for row in points for value in row if value is not None)),
                "xgap": 2,
                "ygap": 2,
                "colorbar": {"title": {"text": "points"}, "thickness": 10, "outlinewidth": 0},
            }
        ],
        "layout": {
            "height": 110 + _ROW * len(found.layers),
            "xaxis": axis(
                "Share of the group's channels removed",
                tickvals=list(range(len(found.ratios))),
                ticktext=[f"{100 * ratio:g} %" for ratio in found.ratios],
                showgrid=False,
            ),
            "yaxis": _names(found.layers) | {"showgrid": False},
        },
    }


def label(text: str) -> str:
    """Text as plotly shows it unchanged: one line, no markup."""
    flat = " ".join(text.split())
    return flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def number(value: float | None) -> float | None:
    """Six digits; None for what is no finite number, which JSON does not have."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None


def polygon(xs: Sequence[float | None], ys: Sequence[float | None], fill: str) -> Figure:
    """A filled area without a line."""
    area = {"fill": "toself", "fillcolor": fill, "line": {"width": 0}, "hoverinfo": "skip"}
    return {"type": "scatter", "mode": "lines", "x": list(xs), "y": list(ys), **area}


def _curves(epochs: Sequence[EpochRecord], series: Sequence[tuple[str, str, Sequence[float]]], *, title: str) -> Figure:
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": name,
            "x": list(range(1, len(epochs) + 1)),
            "y": [number(value) for value in values],
            "line": {"color": own, "dash": "dot" if own == "@train" else "solid"},
            "marker": {"size": 5, "symbol": "square" if own == "@train" else "circle"},
        }
        for name, own, values in series
    ]
    return {"data": data, "layout": _over_epochs(epochs) | {"yaxis": axis(title)}}


def _over_epochs(epochs: Sequence[EpochRecord]) -> Figure:
    """Axis and lines between what was trained, one after the other."""
    starts = list(_starts(epochs))
    notes = [
        {"x": at, "y": 1, "yref": "paper", "yanchor": "bottom", "text": text, "showarrow": False, "xanchor": "left"}
        for at, text in starts
        if len(starts) > 1
    ]
    rule = {"type": "line", "y0": 0, "y1": 1, "yref": "paper", "line": {"color": "@muted", "width": 1, "dash": "dot"}}
    return {
        "height": 270,
        "hovermode": "x",
        "xaxis": axis("Epoch", range=[0.5, len(epochs) + 0.5], tick0=1, dtick=-(-len(epochs) // 10)),
        "shapes": [rule | {"x0": at, "x1": at} for at, _ in starts[1:]],
        "annotations": notes,
    }


def _starts(epochs: Sequence[EpochRecord]) -> Iterator[tuple[float, str]]:
    """Where each training begins on the axis, and what it is."""
    words = {"train": "training", "finetune": "fine-tuning"}
    before: EpochRecord | None = None
    for index, record in enumerate(epochs):
        if before is None or record.phase != before.phase or record.epoch <= before.epoch:
            yield index + 0.5, words[record.phase]
        before = record


def _names(layers: Sequence[str]) -> Figure:
    short = [label(layer if len(layer) <= 30 else f"…{layer[-29:]}") for layer in layers]
    return {"tickvals": list(range(len(layers))), "ticktext": short, "autorange": "reversed", "showgrid": False}


def axis(title: str, **more: Any) -> Figure:
    """An axis with its title and whatever else plotly takes."""
    return {"title": {"text": title}, **more}
