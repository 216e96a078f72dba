"""What is measured, what is remembered, and what a cut makes of it."""

import json
import shutil

import numpy as np
import pytest
import torch

from namprune.data import build_data
from namprune.errors import RunError
from namprune.pruning import PruningPlan, Sensitivity
from namprune.recipe import load_recipe
from namprune.runs import RunStore
from namprune.stages.network import open_network
from namprune.stages.prune import plan, prune
from namprune.stages.sensitivity import PICTURE, sensitivity, sensitivity_of

GROUPS = 12
"""Of a ResNet-20."""


def own_recipe(run, *overrides):
    return load_recipe(str(run.recipe), overrides=["prune.recalibrate=0", "prune.criterion=bn", *overrides])


@pytest.fixture(scope="module")
def measured(trained, tmp_path_factory):
    """A copy of the trained run, measured."""
    store = RunStore(tmp_path_factory.mktemp("measured"))
    shutil.copytree(trained[1].path, store.root / "dense")
    run = store.open("dense")
    return store, sensitivity(run, own_recipe(run))


@pytest.fixture
def run(measured, tmp_path):
    """A copy to break."""
    shutil.copytree(measured[0].root / "dense", tmp_path / "dense")
    return RunStore(tmp_path).open("dense")


def lines(run) -> list[str]:
    return run.sensitivity.read_text().splitlines()


def test_a_group_is_cut_by_its_lowest_factors_and_nothing_else_is(measured) -> None:
    store, found = measured
    run = store.open("dense")
    model, _ = open_network(run, own_recipe(run))
    data = build_data(own_recipe(run).data, device=torch.device("cpu"))

    def right() -> int:
        with torch.no_grad():
            return sum(int((model.eval()(x).argmax(1) == y).sum()) for x, y in data.val.ordered(batch_size=64))

    before = right()
    assert (found.top1, found.images) == (pytest.approx(before / len(data.val)), len(data.val))
    norm = model.get_submodule("stages.2.1.bn1")
    lowest = norm.weight.detach().abs().argsort(stable=True)
    (curve,) = [curve for curve in found.curves if curve.root == "stages.2.1.conv1"]
    assert (curve.channels, curve.removed) == (32, (3, 10, 16, 22, 29))
    for removed, points in zip(curve.removed, curve.lost, strict=True):
        with torch.no_grad():
            norm.weight[lowest[:removed]] = 0
            norm.bias[lowest[:removed]] = 0
        assert points == pytest.approx(100 * (before - right()) / len(data.val))
    assert len({curve.lost for curve in found.curves}) > 1


def test_the_run_is_as_it_was_with_a_picture_more(measured) -> None:
    run = measured[0].open("dense")
    run.verify()
    assert (run.path / PICTURE).read_bytes().startswith(b"\x89PNG")
    assert Sensitivity.from_json(run.sensitivity_curves.read_text(), source="sensitivity.json") == measured[1]
    assert [json.loads(line)["group"] for line in lines(run)][:2] == ["", "stem.0"]
    assert len(lines(run)) == 1 + 5 * GROUPS  # the whole network, and each group at each ratio


def test_only_what_is_missing_is_measured(measured, run) -> None:
    before = run.sensitivity.read_bytes()
    *kept, lost, torn = lines(run)
    assert lost != torn
    run.sensitivity.write_text("\n".join([*kept, torn[:30]]))
    assert sensitivity(run, own_recipe(run)) == measured[1]
    assert run.sensitivity.read_bytes() == before
    forged = [json.dumps({**json.loads(lines(run)[0]), "top1": 0.5}), "{}", *lines(run)[1:]]
    run.sensitivity.write_text("\n".join(forged) + "\n")
    assert sensitivity(run, own_recipe(run)).top1 == 0.5  # what is there was not measured again
    assert lines(run) == forged


@pytest.mark.parametrize(("override", "more"), [("criterion=random", GROUPS), ("recalibrate=1", GROUPS + 1)])
def test_what_was_measured_otherwise_is_not_used(run, override, more) -> None:
    before = len(lines(run))
    sensitivity(run, own_recipe(run, f"prune.{override}"), ratios=[0.5])
    assert len(lines(run)) == before + more


def test_what_cannot_be_read_is_said(run) -> None:
    run.sensitivity.unlink()
    run.sensitivity.mkdir()
    with pytest.raises(RunError, match=r"cannot read .*sensitivity\.jsonl"):
        sensitivity(run, own_recipe(run), ratios=[0.5])


def test_other_weights_are_measured_anew(run) -> None:
    recipe = own_recipe(run)
    model, _ = open_network(run, recipe)
    with torch.no_grad():
        model.get_submodule("classifier").weight.neg_()
    data = build_data(recipe.data, device=torch.device("cpu"))
    before = len(lines(run))
    assert sensitivity_of(model, data, recipe, run, ratios=[0.5]).top1 < 0.2  # of ten classes
    assert len(lines(run)) == before + 1 + GROUPS


def test_a_cut_by_sensitivity_takes_what_is_there_and_measures_the_rest(measured, run) -> None:
    before = lines(run)
    run.sensitivity.write_text("\n".join(before[:-2]) + "\n")
    asked = ("prune.target_macs=0.5", "prune.scope=sensitivity", "finetune.epochs=0")
    planned = plan(run, own_recipe(run, *asked))
    assert lines(run) == before
    store = RunStore(run.path.parent)
    result = prune(run, own_recipe(run, *asked), store=store, name="small")
    made = PruningPlan.from_json(store.open("small").plan.read_text(), source="plan.json")
    assert (made, result.cut.scope) == (planned, "sensitivity")
    assert made.macs_after / made.macs_before == pytest.approx(0.5, rel=0.02)
    curves = {curve.root: curve for curve in measured[1].curves}
    drops = [
        np.interp(cut.before - len(cut.kept), [0, *curve.removed], np.maximum.accumulate([0, *curve.lost]))
        for cut in made.groups
        for curve in [curves[cut.root]]
    ]
    assert max(drops) < max(max(curve.lost) for curve in curves.values()) / 2  # no group pays for all
