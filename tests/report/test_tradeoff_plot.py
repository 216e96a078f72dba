"""The trade-off plot: what plotly is given, against the lines."""

import dataclasses

import pytest

from namprune.report.palette import COLOURS, MARKERS, SCRATCH
from namprune.report.tradeoff_plot import remarks, trade_off


@pytest.fixture
def plane(reported):
    """Over MACs: NAM and no attention with three seeds each, and lines of one run."""
    return reported.planes[0]


def trace(figure, uid: str):
    return next(trace for trace in figure["data"] if trace["uid"] == uid)


def test_a_line_has_its_points_its_marker_and_its_colour(plane) -> None:
    index = next(i for i, line in enumerate(plane.lines) if line.name == "nam")
    drawn, line = trace(trade_off(plane), f"line{index}"), plane.lines[index]
    assert drawn["y"] == pytest.approx([100 * point.top1 for point in line.points])
    assert drawn["x"] == pytest.approx([point.cost for point in line.points])
    assert (drawn["line"]["color"], drawn["marker"]["symbol"]) == (COLOURS["nam"], MARKERS["nam"])


def test_the_band_goes_around_the_points_that_have_a_spread(plane) -> None:
    index = next(i for i, line in enumerate(plane.lines) if line.name == "nam")
    line = plane.lines[index]
    first, last = line.points
    alone = dataclasses.replace(last, spread=None)
    figure = trade_off(dataclasses.replace(plane, lines=(dataclasses.replace(line, points=(first, last, alone)),)))
    high, low = first.top1 + first.spread, first.top1 - first.spread
    band = trace(figure, "band0")
    assert band["x"] == [first.cost, last.cost, last.cost, first.cost, None]
    assert [band["y"][0], band["y"][3], band["y"][4]] == [pytest.approx(100 * high), pytest.approx(100 * low), None]


def test_points_on_the_front_are_full_and_joined(plane) -> None:
    figure = trade_off(plane)
    on = {(p.cost, p.top1) for line in plane.lines for p in line.points if p.front}
    assert trace(figure, "front")["x"] == sorted(cost for cost, _ in on)
    for index, line in enumerate(plane.lines):
        fills = trace(figure, f"line{index}")["marker"]["color"]
        assert [fill != "@card" for fill in fills] == [point.front for point in line.points]


def test_lines_of_one_attention_differ_in_their_dashes(plane) -> None:
    line = plane.lines[0]
    figure = trade_off(dataclasses.replace(plane, lines=(line, dataclasses.replace(line, name="other"))))
    assert trace(figure, "line0")["line"]["dash"] != trace(figure, "line1")["line"]["dash"]


def test_the_hover_says_which_runs_and_how_sure(plane) -> None:
    index = next(i for i, line in enumerate(plane.lines) if line.name == "nam")
    dense = trace(trade_off(plane), f"line{index}")["hovertext"][0]
    assert dense.split("<br>") == [
        "<b>nam (channel, block)</b>",
        "dense",
        "top-1 91.10 ± 1.10 %",
        "41.0 M MACs",
        "~11.0 ms (b64)",
        "seeds 0, 1, 2",
        *("dense-nam-s0", "dense-nam-s1", "dense-nam-s2"),
        "on the Pareto front",
    ]


def test_a_latency_is_written_in_seconds(reported) -> None:
    plane = next(plane for plane in reported.planes if plane.cost == "latency")
    axis = trade_off(plane)["layout"]["xaxis"]
    assert (axis["title"]["text"], axis["ticksuffix"]) == ("Measured latency, batch 64", "s")


def test_a_line_from_scratch_has_a_marker_of_its_own(plane) -> None:
    point = plane.lines[0].points[0]
    fresh = dataclasses.replace(point, row=dataclasses.replace(point.row, kind="scratch"))
    figure = trade_off(dataclasses.replace(plane, lines=(dataclasses.replace(plane.lines[0], points=(fresh,)),)))
    drawn = trace(figure, "line0")
    assert drawn["marker"]["symbol"] == SCRATCH
    assert SCRATCH not in MARKERS.values()


def test_a_point_alone_has_its_spread_as_a_bar_and_no_line(plane) -> None:
    line = next(line for line in plane.lines if line.name == "nam")
    alone = dataclasses.replace(line, points=line.points[:1])
    drawn = trace(trade_off(dataclasses.replace(plane, lines=(alone,))), "line0")
    assert drawn["mode"] == "markers"
    assert drawn["error_y"]["array"] == [pytest.approx(100 * line.points[0].spread)]
    assert not trace(trade_off(plane), "line0")["error_y"]["visible"]


def test_what_is_unsure_is_said_below_the_plot(reported) -> None:
    said = {plane.cost: remarks(plane) for plane in reported.planes}
    assert said["macs"] == "Bands and bars: ± standard deviation over seeds."
    timed = [row.latency[0] for row in reported.report.rows if row.latency]
    noisy = sum(entry.noisy for entry in timed)
    assert 0 < noisy < len(timed)
    assert f"{noisy} of {len(timed)} vary by more than 10 %" in said["latency"]
    alone = dataclasses.replace(reported.planes[0], lines=reported.planes[0].lines[-1:])
    assert remarks(alone) == ""
