"""One row per experiment, against sums made by hand."""

import dataclasses

import pytest

from namprune.report import collect, summarise
from namprune.result import Environment, Latency, Timing
from namprune.runs import RunStore


def rows_of(store: RunStore, **options):
    return summarise(collect(store, **options))


def test_seeds_are_averaged_and_compared_pairwise(store, save, make_result, make_pruned) -> None:
    # three seeds: dense 0.90 0.92 0.94, pruned 0.89 0.92 0.92, so deltas are -1, 0, -2 points
    for seed, (dense, pruned) in enumerate([(0.90, 0.89), (0.92, 0.92), (0.94, 0.92)]):
        parent = make_result(f"d{seed}", top1=dense, seed=seed, macs=40_000_000, params=1000)
        save(parent)
        save(make_pruned(f"p{seed}", parent=parent, top1=pruned, macs=20_000_000 + 2_000_000 * seed, params=400))
    dense, pruned = rows_of(store)
    assert (dense.kind, dense.runs, dense.seeds) == ("dense", ("d0", "d1", "d2"), (0, 1, 2))
    assert dense.top1 == pytest.approx(0.92)
    assert dense.top1_spread == pytest.approx(0.02)
    assert (dense.delta, dense.macs_ratio, dense.ratio) == (None, None, None)
    assert (pruned.kind, pruned.ratio, pruned.cuts, pruned.seeds) == ("pruned", 0.5, ("0.5",), (0, 1, 2))
    assert pruned.top1 == pytest.approx(0.91)
    assert pruned.top1_spread == pytest.approx((0.0006 / 2) ** 0.5)  # squares 4e-4 + 1e-4 + 1e-4 over n - 1
    assert pruned.delta == pytest.approx(-1.0)
    assert pruned.macs == 22_000_000
    assert pruned.macs_ratio == pytest.approx((0.50 + 0.55 + 0.60) / 3)
    assert pruned.params_ratio == pytest.approx(0.4)


def test_a_training_that_removed_channels_is_no_dense_one(store, save, make_result, make_pruned) -> None:
    # what near zero comes to differs from seed to seed, and is still one experiment
    for seed, ratio in enumerate((0.31, 0.33)):
        parent = make_result(f"d{seed}", seed=seed)
        cut = make_pruned("x", parent=parent, ratio=ratio).cut
        parent = dataclasses.replace(parent, cut=dataclasses.replace(cut, every=5))
        save(parent)
        save(make_pruned(f"p{seed}", parent=parent, seed=seed, macs=20_000_000))
    thinned, pruned = rows_of(store)
    assert (thinned.kind, thinned.point, thinned.seeds) == ("dense", "near zero every 5 epochs", (0, 1))
    assert (thinned.ratio, thinned.macs_ratio) == (None, None)
    assert (pruned.point, pruned.seeds) == ("near zero every 5 epochs then 0.5 nam global", (0, 1))


def test_several_cuts_of_one_run_are_said(store, save, make_result, make_pruned) -> None:
    parent = make_result("d")
    pruned = make_pruned("p", parent=parent, macs=20_000_000)
    save(parent)
    save(dataclasses.replace(pruned, cut=dataclasses.replace(pruned.cut, steps=3)))
    assert [row.point for row in rows_of(store)] == ["dense", "0.5 in 3 steps nam global"]


def test_a_ratio_of_some_layers_is_no_plain_one(store, save, make_result, make_pruned) -> None:
    parent = make_result("d")
    plain, other = (make_pruned(name, parent=parent, macs=20_000_000) for name in ("p", "q"))
    for run in (parent, plain, dataclasses.replace(other, cut=dataclasses.replace(other.cut, apart=True))):
        save(run)
    _, *rows = rows_of(store)
    assert {(row.point, row.ratio) for row in rows} == {("0.5 nam global", 0.5), ("0.5, layers apart nam global", None)}


def test_a_repeated_seed_is_no_second_sample(store, save, make_result) -> None:
    save(make_result("a", seed=1, top1=0.8))
    save(make_result("a-2", seed=1, top1=0.9))
    (row,) = rows_of(store)
    assert (row.seeds, row.runs, row.top1_spread) == ((1,), ("a", "a-2"), None)
    assert row.top1 == pytest.approx(0.85)
    save(make_result("b", seed=2, top1=0.95))
    (row,) = rows_of(store)
    assert row.top1 == pytest.approx(0.90)  # of 0.85 and 0.95
    assert row.top1_spread == pytest.approx(0.1 / 2**0.5)


@pytest.mark.parametrize(
    "change",
    [
        {"data": "other"},
        {"data_digest": "x"},
        {"model": "resnet56"},
        {"attention": "none"},
        {"recipe_digest": "x"},
    ],
)
def test_other_experiments_have_their_own_row(store, save, make_result, change) -> None:
    save(make_result("a", seed=0))
    save(make_result("b", seed=1, **change))
    assert [row.seeds for row in rows_of(store)] in ([(0,), (1,)], [(1,), (0,)])


def test_cuts_of_dense_networks_of_two_recipes_are_kept_apart(store, save, make_result, make_pruned) -> None:
    for name, digest in (("a", "r1"), ("b", "r2")):
        parent = make_result(name, recipe_digest=digest)
        save(parent)
        save(make_pruned(f"{name}-p", parent=parent))
    assert sorted(row.runs for row in rows_of(store)) == [("a",), ("a-p",), ("b",), ("b-p",)]


def test_pruned_twice_is_not_pruned_once(store, save, make_result, make_pruned) -> None:
    dense = make_result("d", top1=0.9)
    once = make_pruned("p", parent=dense, macs=20_000_000)
    twice = make_pruned("pp", parent=once, macs=10_000_000, top1=0.85)
    for result in (dense, once, twice):
        save(result)
    assert [(row.runs, row.cuts) for row in rows_of(store)] == [
        (("d",), ()),
        (("p",), ("0.5",)),
        (("pp",), ("0.5", "0.5")),
    ]
    last = rows_of(store)[-1]
    assert (last.macs_ratio, last.delta) == (
        pytest.approx(0.25),
        pytest.approx(-5.0),
    )  # of the dense one, not of p


def test_a_lost_ancestor_leaves_the_comparison_out(store, save, make_result, make_pruned) -> None:
    dense = make_result("gone")
    save(make_pruned("p", parent=dense))
    save(make_pruned("pp", parent=make_pruned("gone-p", parent=dense), macs=1))
    first, second = rows_of(store)
    assert (first.delta, first.macs_ratio, first.params_ratio, first.cuts) == (None, None, None, ("0.5",))
    assert second.cuts == (None, "0.5")


def test_an_ancestor_is_found_though_not_asked_for(store, save, make_result, make_pruned) -> None:
    dense = make_result("d", top1=0.9)
    save(dense)
    save(make_pruned("p", parent=dense, top1=0.88))
    (row,) = rows_of(store, names=["p"])
    assert row.delta == pytest.approx(-2.0)


def test_rows_run_along_the_trade_off(store, save, make_result) -> None:
    for name, model, macs in (
        ("a", "resnet56", 5),
        ("b", "resnet20", 1),
        ("c", "resnet20", 9),
        ("d", "resnet20", 4),
    ):
        save(make_result(name, model=model, macs=macs, recipe_digest=name))
    assert [row.runs[0] for row in rows_of(store)] == ["c", "d", "b", "a"]


def test_latency_is_averaged_over_seeds_and_noise_is_marked(store, save, make_result, make_pruned) -> None:
    save(make_pruned("p", parent=make_result("d"), medians=(0.010, 0.004)))
    save(make_pruned("q", parent=make_result("e", seed=1), medians=(0.010, 0.006)))
    (timed,) = rows_of(store)[0].latency
    assert (timed.batch, timed.noisy) == (64, False)
    assert timed.seconds == pytest.approx(0.005)
    assert timed.ratio == pytest.approx(0.5)
    steady = Latency(batch=64, median=0.010, iqr=0.0005, blocks=9)
    shaky = Latency(batch=64, median=0.010, iqr=0.0011, blocks=9)
    pair = (Timing(dense=shaky, network=steady),)
    save(make_pruned("r", parent=make_result("f", seed=2), latency=pair))
    assert rows_of(store)[0].latency[0].noisy


def test_latencies_of_two_devices_are_not_averaged(store, save, make_result, make_pruned) -> None:
    save(make_pruned("p", parent=make_result("d")))
    other = Environment(device="cuda", threads=1, python="3.11", versions={})
    save(make_pruned("q", parent=make_result("e", seed=1), environment=other))
    (row,) = rows_of(store)
    assert (row.seeds, row.devices, row.latency) == ((0, 1), ("cpu", "cuda"), ())


def test_another_run_under_the_name_of_the_dense_one_is_not_it(store, save, make_result, make_pruned) -> None:
    save(make_pruned("p", parent=make_result("d"), dense_weights="of the run that was deleted"))
    save(make_result("d", top1=0.1))
    row = next(row for row in rows_of(store) if row.kind == "pruned")
    assert (row.delta, row.macs_ratio) == (None, None)
