"""What a training says on its way."""

import json
import re

import pytest
import torch
from torch import nn

from namprune.data import build_data
from namprune.models import build_model
from namprune.runs import RunStore
from namprune.stages.logbook import follow
from namprune.stages.work import Work
from namprune.training import build_training


@pytest.fixture
def place(small_recipe, tmp_path):
    """Recipe, pictures, network and an empty run."""
    recipe = small_recipe("train.epochs=3")
    data = build_data(recipe.data, device=torch.device("cpu"))
    model = build_model(recipe, classes=len(data.classes), input_shape=data.input_shape)
    return recipe, data, model, RunStore(tmp_path).create("a", recipe="")


def test_a_collapsed_layer_is_named_once(place, capsys) -> None:
    recipe, data, model, run = place
    norm = model.get_submodule("stages.1.0.bn1")
    assert isinstance(norm, nn.BatchNorm2d)
    nn.init.zeros_(norm.weight).requires_grad_(False)
    work = Work(run, save_every=60)
    follow(build_training(model, data, recipe, phase="train"), work, description="train", steps=24)
    said = re.sub(r"\s+", " ", capsys.readouterr().err)
    assert said.count("collapsed") == 1
    assert "every γ of stages.1.0.bn1 is near zero" in said
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [line["collapsed"] for line in lines] == [["stages.1.0.bn1"]] * 3
    assert run.checkpoints.newest()[0] is not None
