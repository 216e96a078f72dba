import json

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

from namprune.errors import DataError, RunError, UserError
from namprune.measure import complexity
from namprune.models import build_model
from namprune.recipe import load_recipe
from namprune.runs import RunStore
from namprune.stages.train import train


def test_a_run_holds_what_its_result_says(trained) -> None:
    store, run = trained
    result = run.result()
    run.verify()
    assert (result.kind, result.parent, result.cut, result.epochs) == ("train", None, None, 2)
    assert result.attention == "nam (channel, block)"
    assert result.data == "digits"
    assert result.input_shape == (1, 8, 8)
    assert result.final.test is not None
    assert result.final.test.images == 300
    assert result.final.val.images == 30
    assert [(timing.network.batch, timing.dense) for timing in result.latency] == [(1, None), (64, None)]
    assert {path.name for path in run.path.iterdir()} >= {*result.files, "result.json"}
    assert any(path.name.startswith("events.out.tfevents") for path in run.path.iterdir())
    assert [folder.name for folder in store.folders()] == ["dense"]


def test_a_finished_run_has_told_what_it_was_made_with_and_came_to(trained) -> None:
    _, run = trained
    result, events = run.result(), EventAccumulator(str(run.path)).Reload()
    content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    told = metadata.parse_session_start_info_plugin_data(content).hparams
    assert (told["kind"].string_value, told["seed"].number_value, told["train.epochs"].number_value) == ("train", 0, 2)
    assert (told["attention.name"].string_value, told["train.nesterov"].bool_value) == ("nam", False)
    assert [key for key in told if key.startswith("runtime.")] == []
    assert told["prune.ratios"].string_value == "{}"  # its keys, patterns with *, are no names that MLflow takes
    final = {tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"] if tag.startswith("final/")}
    assert final["final/test_top1"] == pytest.approx(result.final.test.top1)
    assert final["final/macs"] == result.final.complexity.macs
    assert final["final/latency_ms_b64"] == pytest.approx(1000 * result.latency[1].network.median)


def test_metrics_have_a_line_per_epoch_with_the_spread_of_gamma(trained) -> None:
    _, run = trained
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [(line["phase"], line["epoch"]) for line in lines] == [("train", 1), ("train", 2)]
    assert all(0 < line["gamma"]["bottom_decile"] <= line["gamma"]["mean"] for line in lines)
    assert lines[1]["val"]["top1"] == pytest.approx(run.result().final.val.top1)


def test_the_measured_cost_is_that_of_the_network_of_the_recipe(trained) -> None:
    _, run = trained
    recipe = load_recipe(str(run.recipe))
    assert run.result().final.complexity == complexity(
        build_model(recipe, classes=10, input_shape=(1, 8, 8)), (1, 8, 8)
    )


def test_the_saved_recipe_runs_again_to_the_same_bytes(trained, tmp_path) -> None:
    _, run = trained
    again = train(load_recipe(str(run.recipe)), store=RunStore(tmp_path))
    first = run.result()
    assert again.files["model.safetensors"] == first.files["model.safetensors"]
    assert again.stages == first.stages
    assert again.recipe_digest == first.recipe_digest


def test_dropout_repeats_whatever_was_drawn_before(small_recipe, tmp_path) -> None:
    recipe = small_recipe("model.name=mobilenetv2", "model.width=0.25", "train.epochs=1", "data.limit=100")
    digests = []
    for noise in (1, 2):
        torch.rand(noise)
        digests.append(train(recipe, store=RunStore(tmp_path)).files["model.safetensors"])
    assert digests[0] == digests[1]


def test_another_seed_gives_another_network(trained, small_recipe, tmp_path) -> None:
    _, run = trained
    store = RunStore(tmp_path)
    other = train(small_recipe("seed=1", "train.epochs=1"), store=store)
    assert other.name == "resnet20-nam-s1"
    assert other.recipe_digest != run.result().recipe_digest  # one epoch fewer; the seed alone would not change it
    weights, others = load_file(run.weights), load_file(store.open(other.name).weights)
    assert not torch.equal(weights["stem.0.weight"], others["stem.0.weight"])


@pytest.mark.parametrize(
    ("overrides", "error"),
    [
        (("data.name=cifar10", "data.root=nowhere", "data.download=false", "model.name=resnet20"), DataError),
        (("train.batch_size=4096",), DataError),
        (("runtime.device=cuda:99",), UserError),
    ],
)
def test_a_fault_before_training_leaves_nothing(small_recipe, tmp_path, overrides, error) -> None:
    with pytest.raises(error):
        train(small_recipe(*overrides), store=RunStore(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_a_taken_name_is_refused_before_any_work(trained, small_recipe) -> None:
    store, run = trained
    before = run.weights.read_bytes()
    with pytest.raises(RunError, match="already exists"):
        train(small_recipe(), store=store, name="dense")
    assert run.weights.read_bytes() == before
