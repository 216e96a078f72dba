"""What is drawn together, what is told apart, and fronts found by hand."""

import dataclasses
import math

import pytest

from namprune.report import collect, planes, summarise
from namprune.report.tradeoff import pareto_front
from namprune.result import Environment, Latency, Timing


@pytest.fixture
def drawn(store):
    return lambda: planes(summarise(collect(store)))


def lines_of(plane):
    """Costs of each line's points, by its name."""
    return {line.name: [point.cost for point in line.points] for line in plane.lines}


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([(1.0, 0.5)], [True]),
        # the second costs more and is worse; the third costs more and is better
        ([(1.0, 0.5), (2.0, 0.4), (3.0, 0.6)], [True, False, True]),
        # as accurate at less cost, more accurate at as little
        ([(1.0, 0.5), (2.0, 0.5)], [True, False]),
        ([(1.0, 0.5), (1.0, 0.6)], [False, True]),
        # alike in both: neither is better
        ([(1.0, 0.5), (1.0, 0.5)], [True, True]),
        ([(4.0, 0.7), (3.0, 0.8), (2.0, 0.6), (1.0, 0.1), (2.5, 0.6)], [False, True, True, True, False]),
    ],
)
def test_a_pareto_front(points, front) -> None:
    assert pareto_front(points) == tuple(front)


def test_a_line_goes_from_its_dense_network_down(drawn, save, make_result, make_pruned) -> None:
    for attention, macs in (("nam (channel, block)", 40_000_000), ("se (block)", 41_000_000)):
        dense = make_result(attention[:2], attention=attention, macs=macs, recipe_digest=attention)
        save(dense)
    for name, ratio, macs, top1 in (("p7", 0.7, 5_000_000, 0.7), ("p3", 0.3, 20_000_000, 0.91)):
        dense = make_result("na")
        save(make_pruned(name, parent=dense, attention="nam (channel, block)", ratio=ratio, macs=macs, top1=top1))
    plane = drawn()[0]
    assert (plane.title, plane.cost, plane.batch) == ("resnet20 on CIFAR-10 (JPEG)", "macs", None)
    assert lines_of(plane) == {"nam": [40e6, 20e6, 5e6], "se": [41e6]}
    assert [line.attention for line in plane.lines] == ["nam", "se"]
    # 0.91 at 20 M beats both dense ones, 0.9 each; 0.7 is the best at 5 M
    assert [[point.front for point in line.points] for line in plane.lines] == [[False, True, True], [False]]


def test_other_ways_of_cutting_are_lines_of_their_own(drawn, save, make_result, make_pruned) -> None:
    dense = make_result("d")
    usual = make_pruned("p", parent=dense, macs=20_000_000)
    save(dense)
    save(usual)
    save(dataclasses.replace(usual, name="s", kind="scratch", parent="p", epochs=12))
    for name, changes in (
        ("l", {"criterion": "l1"}),
        ("local", {"scope": "local"}),
        ("steps", {"steps": 3}),
        ("apart", {"apart": True}),
    ):
        save(dataclasses.replace(usual, name=name, cut=dataclasses.replace(usual.cut, **changes)))
    save(dataclasses.replace(usual, name="pp", parent="p"))
    lines = lines_of(drawn()[0])
    assert list(lines) == [
        "nam",
        "nam, 2 cuts",
        "nam, 3 steps",
        "nam, from scratch",
        "nam, l1 global",
        "nam, layers apart",
        "nam, nam local",
    ]
    assert lines.pop("nam, from scratch") == [20e6]  # it comes from no dense network
    assert all(costs == [40e6, 20e6] for costs in lines.values())


def test_a_dense_network_beside_one_from_scratch_alone_is_a_line(drawn, save, make_result, make_pruned) -> None:
    dense = make_result("d")
    save(dense)
    save(dataclasses.replace(make_pruned("s", parent=dense, macs=20_000_000), kind="scratch"))
    plane = drawn()[0]
    assert lines_of(plane) == {"nam": [40e6], "nam, from scratch": [20e6]}
    assert [line.scratch for line in plane.lines] == [False, True]


def test_channels_that_went_in_training_are_said(drawn, save, make_result, make_pruned) -> None:
    dense = make_result("d", macs=30_000_000)
    cut = make_pruned("x", parent=dense).cut
    save(dataclasses.replace(dense, cut=dataclasses.replace(cut, every=5)))
    save(make_pruned("p", parent=dense, macs=20_000_000))
    assert lines_of(drawn()[0]) == {"nam, removed in training": [30e6, 20e6]}


def test_lines_that_share_a_name_get_what_differs(drawn, save, make_result, make_pruned) -> None:
    dense = make_result("d", epochs=30)
    save(dense)
    for name, epochs in (("short", 2), ("long", 20)):
        save(make_pruned(name, parent=dense, macs=20_000_000, epochs=epochs, recipe_digest=name))
    assert lines_of(drawn()[0]) == {name: [40e6, 20e6] for name in ("nam, 30 + 2 epochs", "nam, 30 + 20 epochs")}


def test_recipes_that_no_number_tells_apart_are_named_by_a_run(drawn, save, make_result) -> None:
    for name in ("a", "b"):
        save(make_result(name, recipe_digest=name))
    assert lines_of(drawn()[0]) == {"nam, a": [40e6], "nam, b": [40e6]}


def test_variants_of_an_attention_keep_what_tells_them_apart(drawn, save, make_result) -> None:
    for name in ("nam (channel, block)", "nam (spatial, block)", "se (block)"):
        save(make_result(name.translate({ord(c): "-" for c in " (),"}).strip("-"), attention=name))
    assert list(lines_of(drawn()[0])) == ["nam (channel, block)", "nam (spatial, block)", "se"]
    assert [line.attention for line in drawn()[0].lines] == ["nam", "nam", "se"]


def test_other_pictures_or_networks_are_another_plot(drawn, save, make_result) -> None:
    save(make_result("a"))
    save(make_result("b", data_digest="0123456789"))
    save(make_result("c", model="vgg"))
    assert [plane.title for plane in drawn()] == [
        "resnet20 on CIFAR-10 (JPEG), pictures d",
        "resnet20 on CIFAR-10 (JPEG), pictures 01234567",
        "vgg on CIFAR-10 (JPEG)",
    ]


def timing(batch, median, *, iqr=0.0):
    return Timing(network=Latency(batch=batch, median=median, iqr=iqr * median, blocks=9), dense=None)


def test_latencies_are_plotted_where_two_rows_have_them_from_one_device(drawn, save, make_result) -> None:
    other = Environment(device="cuda: H", threads=1, python="3.11", versions={})
    for name, changes in {
        "a": {"latency": (timing(1, 0.002), timing(64, 0.03))},
        "b": {"latency": (timing(1, 0.001, iqr=0.2),)},
        "c": {"latency": (timing(1, 0.1),), "environment": other},
    }.items():
        save(make_result(name, attention=name, top1=0.9, **changes))
    macs, latency = drawn()
    assert len(macs.lines) == 3
    assert (latency.title, latency.batch) == ("resnet20 on CIFAR-10 (JPEG), cpu", 1)
    assert [(line.name, line.points[0].cost, line.points[0].noisy, line.points[0].front) for line in latency.lines] == [
        ("a", 0.002, False, False),
        ("b", 0.001, True, True),
    ]


def test_a_line_over_latency_goes_by_macs_as_over_macs(drawn, save, make_result, make_pruned) -> None:
    dense = make_result("d", macs=40_000_000, latency=(timing(1, 0.02),))
    save(dense)
    for name, macs, seconds in (("p3", 20_000_000, 0.03), ("p7", 5_000_000, 0.01)):
        save(dataclasses.replace(make_pruned(name, parent=dense, macs=macs, ratio=macs), latency=(timing(1, seconds),)))
    assert [lines_of(plane)["nam"] for plane in drawn()] == [[40e6, 20e6, 5e6], [0.02, 0.03, 0.01]]


def test_what_is_no_number_is_left_out(drawn, save, make_result) -> None:
    save(make_result("a", top1=math.nan))
    assert drawn() == ()
    save(make_result("b", attention="se", macs=0))
    save(make_result("c", attention="sa"))
    assert [line.name for line in drawn()[0].lines] == ["sa"]
