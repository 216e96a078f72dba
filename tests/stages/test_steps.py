"""Several cuts with fine-tuning between."""

import dataclasses
import json
import shutil
from functools import partial
from hashlib import sha256

import pytest
import torch
from torch import nn

from namprune.checkpoint import to_bytes
from namprune.errors import PruneError
from namprune.measure import complexity
from namprune.pruning import PruningPlan
from namprune.recipe import load_recipe
from namprune.result import to_json
from namprune.runs import RunStore
from namprune.stages.network import open_network
from namprune.stages.prune import plan, prune


def own_recipe(run, *overrides):
    return load_recipe(str(run.recipe), overrides=overrides)


@pytest.fixture(scope="module")
def stepped(store):
    parent = store.open("dense")
    options = ("prune.target_macs=0.3", "prune.steps=3", "finetune.epochs=5", "finetune.distill.weight=0.5")
    pins = ('prune.ratios={"stages.2.*": 0.6}', "prune.keep=[stem*]")
    recipe = own_recipe(parent, *options, *pins)
    return store.open(prune(parent, recipe, store=store, name="stepped").name)


def test_several_cuts_share_the_epochs_and_end_where_one_would(store, stepped) -> None:
    result = stepped.result()
    names = ["trained", "step 1/3", "step 2/3", "pruned", "recalibrated", "finetuned"]
    assert [stage.stage for stage in result.stages] == names
    assert [stage.test is not None for stage in result.stages] == [True, *[False] * 4, True]
    dense, *shares = (stage.complexity.macs / result.stages[0].complexity.macs for stage in result.stages)
    assert shares[:3] == pytest.approx([0.3 ** (1 / 3), 0.3 ** (2 / 3), 0.3], rel=0.02)
    assert dense == 1
    lines = [json.loads(line) for line in stepped.metrics.read_text().splitlines()]
    assert [(line["epoch"], line["epochs"]) for line in lines] == [(epoch, 5) for epoch in range(1, 6)]
    rates = [line["lr"] for line in lines]
    assert rates[0] == rates[1] == min(rates[:3])  # one epoch, one epoch, three epochs of a falling rate
    assert rates[2] > rates[3] > rates[4]
    assert result.epochs == 5
    assert result.cut is not None
    assert (result.cut.aim, result.cut.target_macs) == ("0.3x MACs in 3 steps, layers apart", 0.3)
    assert result.cut.proof < 1e-9


def test_the_plan_of_several_cuts_makes_the_network_in_one(store, stepped) -> None:
    made = PruningPlan.from_json(stepped.plan.read_text(), source="plan.json")
    dense, _ = open_network(store.open("dense"), own_recipe(store.open("dense")))
    made.apply(dense)
    model, result = open_network(stepped, own_recipe(stepped))
    assert {name: t.shape for name, t in dense.state_dict().items()} == {
        name: t.shape for name, t in model.state_dict().items()
    }
    assert complexity(dense, (1, 8, 8)).macs == made.macs_after == result.final.complexity.macs
    cuts = {cut.root: cut for cut in made.groups}
    assert (cuts["stem.0"].removed, cuts["stem.0"].note) == ((), "prune.keep: stem*")
    third = [cut for cut in made.groups if cut.note == "prune.ratios: stages.2.* 0.6"]
    assert [(cut.before, len(cut.kept)) for cut in third] == [(32, 13)] * 4


@pytest.mark.parametrize(("key", "value"), [("target_params", 0.4), ("target_size", "100kB"), ("ratio", 0.55)])
def test_other_aims_are_reached_in_steps(store, key, value) -> None:
    parent = store.open("dense")
    options = (f"prune.{key}={value}", "prune.steps=2", "finetune.epochs=0", "prune.recalibrate=0")
    run = store.open(prune(parent, own_recipe(parent, *options), store=store, name=f"stepped-{key}").name)
    made, last = PruningPlan.from_json(run.plan.read_text(), source="plan.json"), run.result().final
    reached = {
        "target_params": last.complexity.params / parent.result().final.complexity.params,
        "target_size": run.weights.stat().st_size / 1000,
        "ratio": 1 - made.channels_after / made.channels_before,
    }
    asked = 100 if key == "target_size" else value
    assert reached[key] == pytest.approx(asked, rel=0.02)
    assert made.ratio == value or key != "ratio"
    assert made.target is None or made.target.reached == pytest.approx(made.target.asked, rel=0.02)


def test_a_dry_run_of_several_cuts_plans_the_first(store, capsys) -> None:
    run = store.open("dense")
    first = plan(run, own_recipe(run, "prune.ratio=0.51", "prune.steps=2", "finetune.epochs=2"))
    assert first.channels_after == round(0.7 * first.channels_before)
    assert "the first of 2 cuts" in capsys.readouterr().err


def test_what_several_cuts_cannot_reach_is_refused_before_the_first(store) -> None:
    run = store.open("dense")
    recipe = own_recipe(run, "prune.target_macs=0.05", "prune.floor=0.5", "prune.steps=2", "finetune.epochs=2")
    with pytest.raises(PruneError, match=r"0\.05x MACs cannot be reached"):
        prune(run, recipe, store=store, name="never")
    assert not (store.root / "never").exists()


QUICK = ("finetune.epochs=0", "prune.recalibrate=0")


@pytest.fixture
def uneven(store, tmp_path):
    """A copy of the run whose factors are drawn, so that what several coarse cuts end at is known."""
    shutil.copytree(store.root / "dense", tmp_path / "dense")
    run = RunStore(tmp_path).open("dense")
    model, result = open_network(run, own_recipe(run))
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.1, 1)
    weights = to_bytes(model)
    run.weights.write_bytes(weights)
    files = result.files | {run.weights.name: sha256(weights).hexdigest()}
    run.result_file.write_text(to_json(dataclasses.replace(result, files=files)))
    return run


def test_the_last_cut_comes_as_near_as_it_can(uneven, capsys) -> None:
    asked = ("prune.target_params=0.3", "prune.steps=3", "prune.round_to=8", "prune.criterion=bn")
    result = prune(uneven, own_recipe(uneven, *asked, *QUICK), store=RunStore(uneven.path.parent))
    assert result.cut.target.reached == pytest.approx(0.308, abs=5e-4)
    share = result.final.complexity.params / result.stages[0].complexity.params
    assert share == pytest.approx(result.cut.target.reached)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "0.3x parameters was asked, 3 cuts" in line]
    assert "warning" in line
    assert "come to 0.308x parameters" in line


PINS = "prune.keep=[stem*, stages.0.*, stages.1.*, stages.2.0.*]"
"""Leaves two groups, of one cost."""


@pytest.mark.parametrize("key", ["ratio", "target_params"])
def test_where_what_is_there_is_nearest_the_last_step_leaves_it(store, capsys, key) -> None:
    """The first step takes half of a group of 32, and a second half would be too much."""
    run = store.open("dense")
    params = run.result().final.complexity.params
    left = (params - 2 * 16 * 32 * 9 - 2 * 16) / params  # what the group makes and what reads it, and a BatchNorm
    asked = {"ratio": "0.14", "target_params": f"{0.985 * left:.4f}"}[key]
    options = [f"prune.{key}={asked}", "prune.steps=2", "prune.round_to=16", "finetune.epochs=2"]
    options += [PINS] if key == "target_params" else []
    result = prune(run, own_recipe(run, *options), store=store, name=f"coarse-{key}")
    assert result.cut.channels_before - result.cut.channels_after == 16
    assert (result.epochs, result.final.stage) == (2, "finetuned")
    said = capsys.readouterr().err
    assert f"warning: step 2/2 removes nothing: prune.{key}: " in said
    if key == "ratio":
        assert (result.cut.ratio, result.cut.aim) == (0.14, "0.14 in 2 steps")
        assert "warning: 0.14 of the channels was asked, 2 cuts come to 0.0714 of the channels" in said
    else:
        assert result.final.complexity.params / params == pytest.approx(left)
        assert result.cut.target.reached == pytest.approx(left)
        assert "was asked, 2 cuts come to" in said
        assert "warning: 0." not in said  # within 2 %


def test_several_cuts_measure_latency_beside_one_network(store, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    run = store.open("dense")
    asked = ("prune.target_latency=0.01", "prune.latency_batch=1", "prune.steps=2", "prune.floor=0.5", *QUICK)
    for make in (plan, partial(prune, store=store, name="never")):
        with pytest.raises(PruneError, match=r"target_latency: .* cannot be reached"):
            make(run, own_recipe(run, *asked))
        (table,) = (tmp_path / "namprune").iterdir()
        widths = json.loads(table.read_text())["taken"]
        assert len(widths) == 2  # of the whole network and the narrowest
        assert all(" beside " in one for one in widths)
