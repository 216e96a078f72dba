"""Trainings that remove channels on their way, beside the same trainings that do not."""

import json

import pytest
import torch

from namprune.data import build_data
from namprune.errors import PruneError, RunError
from namprune.measure import complexity
from namprune.models import build_model
from namprune.pruning import PruningPlan
from namprune.recipe import load_recipe, recipe_digest
from namprune.report import collect, summarise
from namprune.result import EpochRecord
from namprune.runs import RunStore
from namprune.stages.evaluate import evaluate
from namprune.stages.network import open_network, timings
from namprune.stages.prune import prune
from namprune.stages.scratch import scratch
from namprune.stages.thinning import Thinning
from namprune.stages.train import train
from namprune.stages.work import Work

STRONG = (
    *("train.epochs=7", "train.lr=0.1", "train.momentum=0.5", "train.schedule=cosine"),
    *("sparsity.l1_gamma=0.3", "sparsity.share=0.5", "sparsity.warmup=0", "sparsity.remove_every=2"),
)
"""Takes the lowest half of the factors to zero within few steps, and little else."""


@pytest.fixture(scope="module")
def thinned(small_recipe, tmp_path_factory):
    """A run that lost channels while it was trained."""
    store = RunStore(tmp_path_factory.mktemp("thinned"))
    train(small_recipe(*STRONG), store=store, name="thin")
    return store


def test_training_that_finds_nothing_dead_gives_the_same_bits(trained, small_recipe, tmp_path) -> None:
    _, run = trained
    again = train(small_recipe("sparsity.remove_every=1"), store=RunStore(tmp_path))
    assert again.files["model.safetensors"] == run.result().files["model.safetensors"]
    assert (again.cut, again.stages) == (None, run.result().stages)
    assert again.recipe_digest != run.result().recipe_digest


def test_channels_go_and_the_run_says_so(thinned) -> None:
    result = thinned.open("thin").result()
    made = PruningPlan.from_json(thinned.open("thin").plan.read_text(), source="plan.json")
    assert (result.kind, result.parent, [stage.stage for stage in result.stages]) == ("train", None, ["trained"])
    assert result.cut is not None
    assert result.cut.aim == "near zero every 2 epochs"
    assert result.cut.proof < 1e-9
    assert (result.cut.channels_before, result.cut.channels_after) == (made.channels_before, made.channels_after)
    assert result.cut.channels_after < 0.9 * result.cut.channels_before
    assert result.final.complexity.macs == made.macs_after < made.macs_before
    assert all(len(cut.kept) >= 0.1 * cut.before for cut in made.groups)
    assert all(timing.dense is not None for timing in result.latency)
    lines = [json.loads(line) for line in thinned.open("thin").metrics.read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 8))


def test_it_can_be_evaluated_pruned_and_reported(thinned, monkeypatch) -> None:
    run = thinned.open("thin")
    recipe = load_recipe(str(run.recipe))
    assert evaluate(run, recipe, split="val") == run.result().final.val
    model, _ = open_network(run, recipe)
    made = PruningPlan.from_json(run.plan.read_text(), source="plan.json")
    assert {cut.root: model.get_submodule(cut.root).out_channels for cut in made.groups} == {
        cut.root: len(cut.kept) for cut in made.groups
    }
    cut = load_recipe(str(run.recipe), overrides=["prune.ratio=0.2", "finetune.epochs=0"])
    beside = []

    def spy(model, recipe, input_shape, *, dense):
        beside.append(complexity(dense, input_shape))
        return timings(model, recipe, input_shape, dense=dense)

    monkeypatch.setattr("namprune.stages.prune.timings", spy)
    prune(run, cut, store=thinned, name="cut")
    assert beside == [run.result().final.complexity]  # what the ratio of the MACs counts from, too
    points = {row.runs: row.point for row in summarise(collect(thinned))}
    assert points["thin",] == "near zero every 2 epochs"
    assert points["cut",] == "near zero every 2 epochs then 0.2 nam global"


def test_a_dead_channel_goes_between_the_spans_and_the_cost_falls(small_recipe, tmp_path) -> None:
    kept = ("prune.keep=[stages.1.*]", "prune.floor=0.3")
    other = "finetune.batch_size=4096"  # more than there are pictures: no part of this training
    recipe = small_recipe("train.epochs=3", "sparsity.remove_every=1", *kept, other)
    data = build_data(recipe.data, device=torch.device("cpu"))
    model = build_model(recipe, classes=10, input_shape=data.input_shape)
    norm, spared = model.get_submodule("stages.2.0.bn1"), model.get_submodule("stages.1.0.bn1")
    width = norm.num_features
    work = Work(RunStore(tmp_path).create("thin", recipe=""), save_every=60)
    thinning = Thinning(model, data, recipe, work)
    widths = []
    for event in thinning:
        if isinstance(event, EpochRecord):
            widths.append(norm.num_features)
            with torch.no_grad():
                for one in (norm, spared):
                    one.weight[: 2 * event.epoch] = one.bias[: 2 * event.epoch] = 0.0
    assert spared.num_features == width / 2
    assert widths == [width, width - 2, width - 6]
    plan = work.progress.plan
    assert plan is not None
    assert plan.channels_before - plan.channels_after == 6


def test_the_floor_is_part_of_such_a_training(small_recipe) -> None:
    plain, thin = (["sparsity.remove_every=0"], ["sparsity.remove_every=2"])
    digests = [
        recipe_digest(small_recipe(*how, f"prune.floor={floor}"), kind="train")
        for how in (plain, thin)
        for floor in (0.1, 0.2)
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_what_is_to_stay_is_looked_for_before_the_time_is_spent(small_recipe, tmp_path) -> None:
    with pytest.raises(PruneError, match=r"prune\.keep: no channels belong to 'layer3'"):
        train(small_recipe("sparsity.remove_every=1", "prune.keep=[layer3]"), store=RunStore(tmp_path))
    assert not [*tmp_path.iterdir()]


def test_its_shape_is_not_trained_from_scratch(thinned) -> None:
    run = thinned.open("thin")
    with pytest.raises(RunError, match="'thin' lost channels in training"):
        scratch(run, load_recipe(str(run.recipe)), store=thinned)
