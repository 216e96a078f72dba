"""What a run's folder tells, and what is said of files that cannot be read."""

import dataclasses
import json
import math

import pytest

from namprune.pruning.sensitivity import Curve, Sensitivity
from namprune.report import LayerWidth, collect, details
from namprune.result import Accuracy, EpochRecord, GammaSpread

GAMMA = GammaSpread(mean=0.5, top_decile=0.9, bottom_decile=0.1, near_zero=0.2)


def epoch(number, *, phase="train", **changes):
    record = EpochRecord(
        phase=phase,
        epoch=number,
        epochs=3,
        loss=1.0 / number,
        accuracy=0.5,
        val=Accuracy(top1=0.6, top5=0.9, loss=1.0, images=10),
        lr=0.1,
        seconds=1.0,
        images_per_second=100.0,
        gamma=GAMMA,
    )
    return dataclasses.replace(record, **changes)


@pytest.fixture
def run(save, make_result):
    return save(make_result("r"))


@pytest.fixture
def detail(store, run):
    def read():
        (found,) = details(store, collect(store))
        return found

    return read


def log(run, *records):
    for record in records:
        run.append(run.metrics, dataclasses.asdict(record))


def sensitivity(*lost):
    curves = tuple(
        Curve(root=f"layer{i}", channels=8, removed=(2, 4), saved=(0.1, 0.2), lost=row) for i, row in enumerate(lost)
    )
    return Sensitivity(criterion="nam", recalibrated=8, top1=0.9, images=100, ratios=(0.3, 0.5), curves=curves)


def test_a_run_without_more_than_its_result(run, detail) -> None:
    found = detail()
    assert (found.result.name, found.recipe) == ("r", "seed: 0\n")
    assert (found.epochs, found.widths, found.sensitivity, found.faults) == ((), (), None, ())


def test_an_epoch_that_came_twice_counts_as_the_later(run, detail) -> None:
    again = epoch(2, loss=0.125)
    log(run, epoch(1), epoch(2), epoch(1, phase="finetune"), epoch(3), again)
    assert detail().epochs == (epoch(1), again, epoch(3), epoch(1, phase="finetune"))
    assert detail().faults == ()


def test_lines_that_are_none_are_left_out_with_the_reason(run, detail) -> None:
    log(run, epoch(1), epoch(2, loss=math.nan), epoch(3, gamma=dataclasses.replace(GAMMA, mean=math.inf)))
    with run.metrics.open("a") as file:
        file.write('{"phase": "train", "epo')
    found = detail()
    assert found.epochs == (epoch(1),)
    assert [fault.split(":")[0] for fault in found.faults] == [
        "metrics.jsonl, line 2",
        "metrics.jsonl, line 3",
        "metrics.jsonl, line 4",
    ]


def test_widths_are_those_of_the_plan_in_the_order_of_numbers(run, detail) -> None:
    plan = {
        "groups": [
            {"root": "layer.10", "before": 8, "kept": [0, 3]},
            {"root": "layer.2", "before": 4, "kept": [0, 1, 2, 3]},
        ],
        "bottlenecks": [{"layer": "layer.2.se", "name": "hidden", "before": 4, "kept": [1]}],
    }
    run.plan.write_text(json.dumps(plan))
    assert detail().widths == (
        LayerWidth(layer="layer.2", before=4, after=4),
        LayerWidth(layer="layer.2.se hidden", before=4, after=1),
        LayerWidth(layer="layer.10", before=8, after=2),
    )


def test_a_sensitivity_is_read_as_it_was_measured(run, detail) -> None:
    run.write(run.sensitivity_curves, sensitivity((0.0, 1.5), (-0.5, 20.0)).to_json())
    found = detail()
    assert found.sensitivity.layers == ("layer0", "layer1")
    assert found.sensitivity.ratios == (0.3, 0.5)
    assert found.sensitivity.points == ((0.0, 1.5), (-0.5, 20.0))
    assert found.faults == ()


def test_an_unfinished_sensitivity_is_told_with_the_remedy(run, detail) -> None:
    run.append(run.sensitivity, {"key": "k", "group": "", "removed": 0, "top1": 0.9})
    (fault,) = detail().faults
    assert "namprune sensitivity r --runs" in fault


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"groups": 3}',
        '{"groups": [{"root": "a"}], "ratios": [1], "curves": [{}]}',
        '{"groups": [{"root": "a", "before": "x", "kept": []}], "ratios": ["x"], "curves": []}',
        '{"groups": [{"root": "a", "before": NaN, "kept": []}], "ratios": [NaN], "curves": [{"lost": [0]}]}',
        '{"groups": [null], "ratios": [0.1, 0.3], "curves": [{"root": "a", "lost": [1]}]}',
        '{"groups": [null], "ratios": [0.1], "curves": [{"root": "a", "lost": [Infinity]}]}',
        '{"groups": [null], "ratios": [], "curves": []}',
        "[" * 10_000,
    ],
)
def test_broken_files_cost_their_part_alone(run, detail, text) -> None:
    log(run, epoch(1))
    for file in (run.plan, run.sensitivity_curves):
        file.write_text(text)
    found = detail()
    assert (found.widths, found.sensitivity) == ((), None)
    assert [fault.split()[0] for fault in found.faults] == ["plan.json", "sensitivity.json"]
    assert found.epochs == (epoch(1),)


def test_files_that_cannot_be_read_at_all(run, detail) -> None:
    run.recipe.write_bytes(b"\xff\xfe")
    run.metrics.mkdir()
    found = detail()
    assert (found.recipe, found.epochs) == ("", ())
    assert [fault.split()[0] for fault in found.faults] == ["recipe.yaml", "metrics.jsonl"]
