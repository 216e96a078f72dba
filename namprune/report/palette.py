"""The colour and the marker of each attention, the same in every figure and on the page."""

COLOURS = {
    "nam": "#D55E00",
    "se": "#0072B2",
    "cbam": "#009E73",
    "bam": "#CC79A7",
    "sa": "#56B4E9",
    "ulsam": "#E69F00",
    "eca": "#F0E442",
    "none": "#6E6E6E",
    "half": "#A8A8A8",
}
"""By Okabe and Ito (https://jfly.uni-koeln.de/color/), told apart by all eyes on white and on black; what is there for
comparison is grey."""

MARKERS = {
    "nam": "circle",
    "se": "square",
    "cbam": "diamond",
    "bam": "triangle-down",
    "sa": "triangle-up",
    "ulsam": "pentagon",
    "eca": "hexagon",
    "none": "cross",
    "half": "x",
}
"""For those who see no colour, or print none; by plotly's names."""

SCRATCH = "triangle-left"
"""The marker of networks trained from fresh weights, whatever their attention: mostly there is no line to tell by."""

OTHER = "#882255"
"""The colour of an attention that is none of ours; its marker is a star."""


def colour(attention: str) -> str:
    """`#RRGGBB` of an attention by its name."""
    return COLOURS.get(attention, OTHER)


def marker(attention: str, *, scratch: bool = False) -> str:
    """Marker of an attention by its name."""
    return SCRATCH if scratch else MARKERS.get(attention, "star")
