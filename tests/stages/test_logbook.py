"""What a training says on its way."""

import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from namprune.data import build_data
from namprune.data.picture import MOMENTS
from namprune.models import build_model
from namprune.runs import RunStore
from namprune.sparsity import scale_factors
from namprune.stages.logbook import follow
from namprune.stages.work import Work
from namprune.tracking import tracked
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
    follow(build_training(model, data, recipe, phase="train"), work, recipe, description="train", steps=24)
    said = re.sub(r"\s+", " ", capsys.readouterr().err)
    assert said.count("collapsed") == 1
    assert "every γ of stages.1.0.bn1 is near zero" in said
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [line["collapsed"] for line in lines] == [["stages.1.0.bn1"]] * 3
    assert run.checkpoints.newest()[0] is not None


def test_a_tracked_training_tells_pictures_factors_and_numbers_and_ends_with_the_same_bytes(place) -> None:
    recipe, data, _, run = place
    ends = []
    for told in (False, True):
        torch.manual_seed(0)
        model = build_model(recipe, classes=len(data.classes), input_shape=data.input_shape)
        training = build_training(model, data, recipe, phase="train", span=range(1))
        work = Work(run, save_every=60)
        if told:
            with tracked(run.path, step=0, name=None, tags={}) as work.tracker:
                follow(training, work, recipe, description="train", steps=8)
        else:
            follow(training, work, recipe, description="train", steps=8)
        run.checkpoints.discard()
        ends.append(model)
    torch.testing.assert_close(ends[1].state_dict(), ends[0].state_dict(), rtol=0, atol=0)
    events = EventAccumulator(str(run.path)).Reload()
    line = json.loads(run.metrics.read_text().splitlines()[-1])
    assert [(e.step, e.value) for e in events.Scalars("train/val_top1")] == [(1, np.float32(line["val"]["top1"]))]
    factors = {f"{factor.kind}/{factor.name}": factor.parameter for factor in scale_factors(ends[1])}
    assert {*events.Tags()["histograms"]} == factors.keys()
    for tag, parameter in factors.items():
        (event,) = events.Histograms(tag)
        assert event.histogram_value.num == parameter.numel()
        assert event.histogram_value.sum == pytest.approx(parameter.abs().sum().item(), rel=1e-5)
    (picture,) = events.Images("first_batch")
    assert picture.step == 0
    x, _ = next(data.train.shuffled(batch_size=32, seed=recipe.seed, epoch=0))
    (mean,), (std,) = MOMENTS["digits"]
    rows = [torch.cat(row.unbind(0), dim=-1) for row in x[:16].view(4, 4, *x.shape[1:])]  # (1, H, 4 W) each
    expected = (torch.cat(rows, dim=-2)[0] * std + mean) * 255
    shown = np.asarray(Image.open(io.BytesIO(picture.encoded_image_string)).convert("L"), dtype=np.float32)
    assert np.abs(shown - expected.numpy()).max() < 0.51
