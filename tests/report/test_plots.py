"""The plots of a run: what plotly is given, against the records."""

import dataclasses

import pytest

from namprune.report import plots
from namprune.report.details import LayerWidth, SensitivityMap


@pytest.fixture
def epochs(reported):
    """Three of training, two of fine-tuning."""
    return reported.details[1].epochs


def test_a_name_is_no_markup_and_one_line() -> None:
    assert plots.label("<b>a</b>\n &lt;") == "&lt;b&gt;a&lt;/b&gt; &amp;lt;"


@pytest.mark.parametrize(
    ("value", "written"), [(0.123456789, 0.123457), (41385728, 41385700), (float("nan"), None), (float("inf"), None)]
)
def test_numbers_are_short_and_finite(value, written) -> None:
    assert plots.number(value) == written


def test_phases_follow_each_other_and_are_told_apart(epochs) -> None:
    figure = plots.losses(epochs)
    assert figure["data"][0]["x"] == [1, 2, 3, 4, 5]
    assert figure["data"][1]["y"] == [1.5, 0.75, 0.5, 1.5, 0.75]
    assert [shape["x0"] for shape in figure["layout"]["shapes"]] == [3.5]
    assert [note["text"] for note in figure["layout"]["annotations"]] == ["training", "fine-tuning"]


def test_one_phase_needs_no_word(epochs) -> None:
    layout = plots.accuracies(epochs[:3])["layout"]
    assert (layout["shapes"], layout["annotations"]) == ([], [])


def test_epochs_without_factors_are_left_out_of_them(epochs) -> None:
    silent = dataclasses.replace(epochs[1], gamma=None)
    band, mean, zero = plots.factors((epochs[0], silent, *epochs[2:]))["data"]
    assert mean["x"] == [1, 3, 4, 5]
    assert mean["y"] == pytest.approx([0.5, 0.5 / 3, 0.5, 0.25], rel=1e-5)
    assert band["y"] == [0.9] * 4 + [0.1] * 4  # up along the top decile and back along the bottom one
    assert zero["y"] == pytest.approx([10, 30, 10, 20])


def test_bars_say_what_stays_of_what() -> None:
    layers = (LayerWidth(layer="a" * 40, before=16, after=9), LayerWidth(layer="b", before=8, after=8))
    figure = plots.widths(layers)
    before, after = figure["data"]
    assert (before["x"], after["x"]) == ([16, 8], [9, 8])
    assert before["text"] == ["9 / 16", "8 / 8"]
    assert figure["layout"]["yaxis"]["ticktext"] == ["…" + "a" * 29, "b"]
    assert "a" * 40 in before["hovertext"][0]


def test_noise_does_not_look_like_a_loss() -> None:
    found = SensitivityMap(layers=("a",), ratios=(0.1, 0.5), points=((-0.7, 0.2),))
    (heat,) = plots.sensitivity(found)["data"]
    assert (heat["zmin"], heat["zmax"]) == (0, 5)
    assert heat["text"] == [["-0.7", "0.2"]]
    worse = dataclasses.replace(found, points=((1.0, 91.6),))
    assert plots.sensitivity(worse)["data"][0]["zmax"] == 91.6
