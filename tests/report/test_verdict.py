"""The sentences against differences taken by hand."""

import dataclasses
import json

import pytest

from namprune.report import Report, collect, summarise, to_csv, to_json, to_markdown, to_tables
from namprune.report.verdict import RULE, sentences, verdicts
from namprune.result import Latency, Timing


@pytest.fixture
def say(store):
    return lambda: sentences(summarise(collect(store)))


@pytest.fixture
def save_seeds(save, make_result):
    """Dense runs of one attention, a top-1 for each seed; keeps the records."""

    def make(attention, top1s, **changes):
        runs = [
            make_result(
                f"{attention}-{seed}", attention=attention, seed=seed, top1=top1, recipe_digest=attention, **changes
            )
            for seed, top1 in top1s.items()
        ]
        for run in runs:
            save(run)
        return runs

    return make


@pytest.mark.parametrize(
    ("nam", "se", "verdict"),
    [
        # differences 2, 1, 3: mean 2, squares 0 + 1 + 1 over n - 1 = 1
        (
            (0.92, 0.93, 0.95),
            (0.90, 0.92, 0.92),
            "nam is ahead of se: +2.00 points (n = 3, SD 1.00), at 1.00x its MACs.",
        ),
        ((0.90, 0.92, 0.92), (0.92, 0.93, 0.95), "nam is behind se: -2.00 points (n = 3, SD 1.00), at 1.00x its MACs."),
        # differences 3, -1, 1: mean 1, squares 4 + 4 + 0 over 2 = 4
        (
            (0.93, 0.91, 0.91),
            (0.90, 0.92, 0.90),
            "nam is within the spread of se: +1.00 points (n = 3, SD 2.00), at 1.00x its MACs.",
        ),
        ((0.93, 0.93), (0.90, 0.92), "nam against se: +2.00 points, at 1.00x its MACs, but 2 seeds cannot tell."),
        ((0.93,), (0.90,), "nam against se: +3.00 points, at 1.00x its MACs, but one seed cannot tell."),
    ],
)
def test_a_verdict_pairs_the_seeds(say, save_seeds, nam, se, verdict) -> None:
    save_seeds("nam", dict(enumerate(nam)))
    save_seeds("se", dict(enumerate(se)))
    assert say() == (RULE, f"resnet20 on CIFAR-10 (JPEG), dense: {verdict}")


@pytest.mark.parametrize(
    ("nam", "stands"),
    [((0.95, 0.96, 0.97), "ahead"), ((0.90, 0.94, 0.92), "level"), ((0.8, 0.81, 0.82), "behind"), ((0.95,), None)],
)
def test_how_nam_stands_is_said_beside_a_place_of_any_name(save_seeds, store, nam, stands) -> None:
    for attention, top1s in (("nam", nam), ("se", (0.91, 0.92, 0.93))):
        save_seeds(attention, dict(enumerate(top1s)), model="a: b is ahead of c")
    (verdict,) = verdicts(summarise(collect(store)))
    assert (verdict.place, verdict.stands) == ("a: b is ahead of c on CIFAR-10 (JPEG), dense", stands)
    assert verdict.text.startswith("nam ")


def test_only_common_seeds_are_paired(say, save_seeds) -> None:
    save_seeds("nam", {0: 0.90, 1: 0.93, 2: 0.95, 3: 0.94})
    save_seeds("se", {1: 0.92, 2: 0.92, 3: 0.92, 7: 0.10})  # differences 1, 3 and 2
    save_seeds("sa", {5: 0.50})
    (_, verdict) = say()
    assert "+2.00 points (n = 3, SD 1.00)" in verdict


def test_each_cut_is_a_point_of_its_own(say, save, save_seeds, make_pruned) -> None:
    for attention, top1, macs in (("nam", 0.8, 12), ("se", 0.7, 10)):
        (dense,) = save_seeds(attention, {0: 0.9})
        for ratio in (0.3, 0.5):
            changes = {"attention": attention, "recipe_digest": f"{attention} {ratio}", "macs": macs}
            save(make_pruned(f"{attention}-p{ratio}", parent=dense, ratio=ratio, top1=top1 + ratio / 10, **changes))
    verdicts = say()[1:]
    assert [line.partition(": ")[0].partition(", ")[2] for line in verdicts] == [
        "dense",
        "0.3 nam global",
        "0.5 nam global",
    ]
    assert "+10.00 points, at 1.20x its MACs" in verdicts[2]


@pytest.mark.parametrize("change", [{"data_digest": "x"}, {"model": "resnet56"}, {"epochs": 9}])
def test_what_cannot_be_compared_has_no_verdict(say, save, make_result, change) -> None:
    save(make_result("a"))
    save(make_result("b", attention="se", **change))
    assert say() == ()


def test_two_recipes_of_one_attention_are_not_chosen_from(say, save, save_seeds, make_result) -> None:
    save_seeds("nam", {0: 0.9})
    save_seeds("se", {0: 0.8})
    save(make_result("other", recipe_digest="other"))
    assert say()[1:] == (
        "resnet20 on CIFAR-10 (JPEG), dense: nam is not compared, there are runs of 2 recipes: name some.",
    )


def test_an_attention_costs_what_it_adds_to_the_plain_network(say, save, make_result) -> None:
    def timing(median, iqr=0.0):
        return (Timing(network=Latency(batch=64, median=median, iqr=iqr, blocks=9), dense=None),)

    save(make_result("plain", attention="none", params=1000, macs=200, recipe_digest="p", latency=timing(0.010)))
    save(make_result("se", attention="se", params=1025, macs=201, recipe_digest="s", latency=timing(0.012)))
    save(make_result("sa", attention="sa", params=1000, macs=200, recipe_digest="t", latency=timing(0.013, 0.002)))
    assert say() == (
        RULE,
        "resnet20 on CIFAR-10 (JPEG), dense: sa costs over the plain network: "
        "parameters +0.00 %, MACs +0.00 %, latency b64 ~1.30x.",
        "resnet20 on CIFAR-10 (JPEG), dense: se costs over the plain network: "
        "parameters +2.50 %, MACs +0.50 %, latency b64 1.20x.",
    )


def test_every_format_but_csv_carries_the_sentences(store, save_seeds) -> None:
    save_seeds("nam", {0: 0.9})
    save_seeds("se", {0: 0.8})
    report = Report.of(collect(store))
    said = sentences(report.rows)
    (table,) = to_tables(report)
    assert set(said) <= set(table.notes)
    assert said[1] in to_markdown(report).splitlines()
    assert json.loads(to_json(report))["sentences"] == list(said)
    assert "one seed" not in to_csv(report)


@pytest.mark.parametrize("criterion", ["nam", "bn"])
def test_at_a_macs_target_everything_is_measured_against_the_cut_that_is_not_a_control(
    say, save, save_seeds, make_pruned, criterion
) -> None:
    (dense,) = save_seeds("nam", {0: 0.9})
    (plain,) = save_seeds("none", {0: 0.9})

    def cut(name, parent, *, top1, by=criterion, scope="global", **changes):
        run = make_pruned(name, parent=parent, top1=top1, recipe_digest=name, attention=parent.attention, **changes)
        own = dataclasses.replace(run.cut, target_macs=0.3, criterion=by, scope=scope)
        save(dataclasses.replace(run, cut=own))
        return run

    ours = cut("ours", dense, top1=0.80)
    cut("random", dense, top1=0.70, by="random")
    cut("uniform", dense, top1=0.79, scope="local")
    cut("plain", plain, top1=0.78)
    # three epochs of training and three of fine-tuning: its rivals' six in one
    cut("scratch", dense, top1=0.77, kind="scratch", epochs=6)
    cut("other", dense, top1=0.76, by="l1", kind="scratch", epochs=6)
    cut("longer", dense, top1=0.10, kind="scratch", epochs=7)
    point = f"resnet20 on CIFAR-10 (JPEG), 0.3x MACs {criterion} global: nam against "
    said = [line.removeprefix(point).partition(" points")[0] for line in say() if line.startswith(point)]
    assert ours.epochs == dense.epochs == 3
    assert sorted(said) == sorted(
        [
            "its own network cut by random global: +10.00",
            f"its own network cut by {criterion} local: +1.00",
            "none: +2.00",
            "its own shape from scratch: +3.00",
            "its own network cut by l1 global from scratch: +4.00",
        ]
    )
    assert not any("random global: nam" in line for line in say())
