"""Pruning a network that was made elsewhere, without a training run."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from namprune import accuracy, build_data, load_recipe
from namprune.cli import app
from namprune.cli.overrides import resolve
from namprune.errors import UserError

run = CliRunner().invoke

CODE = """
from torch import nn

def build(num_classes):
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 24, 3, stride=2, bias=False), nn.BatchNorm2d(24), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, num_classes),
    )
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a network of the user's own and its weights, which is the current one."""
    (tmp_path / "givennet.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    namespace: dict = {}
    exec(CODE, namespace)  # noqa: S102 - the same network without its file
    torch.manual_seed(0)
    save_file(namespace["build"](10).state_dict(), "weights.safetensors")
    return tmp_path


ARGUMENTS = ["prune", "--model", "python:givennet:build", "--weights", "weights.safetensors", "--recipe", "quickstart"]
SETS = ["--set", "attention={name: none}", "--set", "finetune.epochs=1", "--ratio", "0.25", "--json"]


def test_a_network_from_elsewhere_is_pruned_without_a_training_run(here) -> None:
    done = run(app, [*ARGUMENTS, *SETS], catch_exceptions=False)
    tree = json.loads(done.stdout)
    given = json.loads((here / "runs" / tree["parent"] / "result.json").read_text())
    assert (given["kind"], given["epochs"], tree["epochs"]) == ("train", 0, 1)
    assert [stage["stage"] for stage in tree["stages"]] == ["as given", "pruned", "recalibrated", "finetuned"]
    assert tree["cut"]["channels_after"] == 30  # of 16 + 24
    recipe = load_recipe("quickstart")
    data = build_data(recipe.data, device=torch.device("cpu"))
    namespace: dict = {}
    exec(CODE, namespace)  # noqa: S102
    model = namespace["build"](10)
    model.load_state_dict(load_file("weights.safetensors"))
    assert given["stages"][0]["test"]["top1"] == accuracy(model, data.test.ordered(batch_size=100)).top1


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--model", "resnet18"], "expected a source and a name"),
        (["--weights", "w.pt"], "--weights is said without --model"),
        (["--recipe", "quickstart"], "--recipe is said without --model"),
        (["--model", "torchvision:resnet18"], "--weights is missing beside --model"),
        (["a-run", "--model", "torchvision:resnet18", "--weights", "w"], "a-run is said beside --model"),
        (["--dry-run", "--model", "torchvision:resnet18", "--weights", "w"], "--dry-run is said beside --model"),
        (["--resume", "--model", "torchvision:resnet18"], "--model is said beside --resume"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, arguments, fault) -> None:
    with pytest.raises(UserError, match=fault):
        run(app, ["prune", *arguments, "--runs", str(tmp_path)], catch_exceptions=False)
    assert [*tmp_path.iterdir()] == []


def test_the_pruned_run_has_the_name_that_was_asked_for(here) -> None:
    name = "givennet-build-s0"  # which the network taken in would get
    tree = json.loads(run(app, [*ARGUMENTS, *SETS, "--name", name], catch_exceptions=False).stdout)
    assert (tree["name"], tree["parent"]) == (name, f"{name}-dense")


def test_a_set_may_say_more_of_the_network_than_model() -> None:
    given = {"source": "torchvision", "name": "resnet18"}
    section = resolve("pretrained", sets=["model.weights=w.pt"], options={"--model": given}).model
    assert section.model_dump() == given | {"weights": "w.pt"}
    assert resolve("pretrained", sets=None, options={"--model": given}).model.weights is None


def test_weights_of_other_classes_are_refused_and_nothing_is_left(here) -> None:
    tensors = load_file("weights.safetensors")
    save_file(
        {name: tensor[:7] if name.startswith("8.") else tensor for name, tensor in tensors.items()}, "seven.safetensors"
    )
    with pytest.raises(UserError, match="the weights know 7 classes, the pictures have 10"):
        run(app, [*ARGUMENTS[:4], "seven.safetensors", *ARGUMENTS[5:], *SETS], catch_exceptions=False)
    assert not (here / "runs").exists() or [*(here / "runs").iterdir()] == []
