"""Networks that were made elsewhere: found by name, run by name, refused by name."""

import builtins
import sys
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import nn

from namprune.errors import UserError
from namprune.models import build_model
from namprune.recipe import Recipe, parse_recipe

INPUT = (3, 32, 32)
NET = """
import os
import torch
from torch import nn

def build(num_classes):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(num_classes))

class Small(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))

class Tied(Small):
    def __init__(self, num_classes):
        super().__init__(num_classes)
        self[0].more = self[3]

def several(num_classes):
    class Several(Small):
        def forward(self, x):
            return {"out": super().forward(x)}
    return Several(num_classes)

def aux(num_classes):
    class Aux(Small):
        def forward(self, x):
            return (super().forward(x),) * 2 if self.training else super().forward(x)
    return Aux(num_classes)

def single(num_classes):
    class Single(Small):
        def forward(self, x):
            return super().forward(x.reshape(1, 3, 32, 32))
    return Single(num_classes)

def frozen(num_classes):
    return Small(num_classes).requires_grad_(False)

def masked(num_classes):
    net, mask = Small(num_classes), torch.ones(8)
    net.register_buffer("mask", mask)
    net[0].register_buffer("same", mask[:4])
    return net

def counting(num_classes):
    class Counting(Small):
        def get_extra_state(self):
            return {"calls": 1}
    return Counting(num_classes)

def moves(num_classes):
    os.chdir("..")
    return Small(num_classes)

def leaves(num_classes):
    raise SystemExit("no GPU")

def fails(num_classes):
    raise ValueError("no such\\nthing")

def nothing(num_classes):
    return None

number = 3
"""


def recipe(model: str, *overrides: str) -> Recipe:
    text = f"data: {{name: digits}}\nmodel: {model}\ntrain: {{epochs: 1}}\nfinetune: {{epochs: 0}}"
    return parse_recipe(text, source="x", overrides=overrides)


def build(model: str, *, classes: int = 5, input_shape: tuple[int, int, int] = INPUT) -> nn.Module:
    return build_model(recipe(model), classes=classes, input_shape=input_shape)


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A module of the user's in the current folder, of a name that no other test has imported."""
    name = f"net{abs(hash(request.node.nodeid))}"
    (tmp_path / f"{name}.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    return name


@pytest.mark.parametrize(
    ("source", "make"),
    [
        ("torchvision", lambda: torchvision.models.mobilenet_v3_small(num_classes=5)),
        ("timm", lambda: timm.create_model("mobilenetv3_small_050", num_classes=5)),
    ],
)
def test_a_library_s_network_is_what_its_library_makes(source, make) -> None:
    name = {"torchvision": "mobilenet_v3_small", "timm": "mobilenetv3_small_050"}[source]
    model = build(f"{{source: {source}, name: {name}}}")
    torch.manual_seed(0)  # the recipe's
    for (key, ours), (theirs_key, theirs) in zip(model.state_dict().items(), make().state_dict().items(), strict=True):
        assert key == theirs_key
        assert torch.equal(ours, theirs)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize(("name", "side"), [("googlenet", 32), ("inception_v3", 75)])
def test_networks_with_second_outputs_have_none(name, side) -> None:
    model = build(f"{{source: torchvision, name: {name}}}", input_shape=(3, side, side))
    assert model.train()(torch.zeros(2, 3, side, side)).shape == (2, 5)


def test_timm_takes_pictures_of_any_number_of_channels() -> None:
    model = build("{source: timm, name: mobilenetv3_small_050.lamb_in1k}", input_shape=(1, 32, 32))
    assert model.conv_stem.in_channels == 1


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "{source: torchvision, name: resnet19}",
            "torchvision has no 'resnet19' that classifies pictures; did you mean",
        ),
        ("{source: torchvision, name: lraspp_mobilenet_v3_large}", "torchvision has no 'lraspp_mobilenet_v3_large'"),
        ("{source: timm, name: resnet19}", "timm has no 'resnet19'"),
        ("{source: timm, name: 'hf-hub:timm/resnet18'}", "timm has no 'hf-hub:timm/resnet18'"),
        ("{source: torchvision, name: inception_v3}", "inception_v3 (torchvision) does not take pictures of 3x32x32"),
    ],
)
def test_what_a_library_does_not_have_is_refused(model, message) -> None:
    with pytest.raises(UserError) as caught:
        build(model)
    assert message in caught.value.message
    assert "\n" not in caught.value.message


def test_grey_pictures_are_no_pictures_for_torchvision() -> None:
    with pytest.raises(UserError, match=r"mobilenet_v3_small \(torchvision\) does not take pictures of 1x32x32"):
        build("{source: torchvision, name: mobilenet_v3_small}", input_shape=(1, 32, 32))


def test_without_timm_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "timm":
            raise ModuleNotFoundError("No module named 'timm'", name="timm")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match="timm is not installed") as caught:
        build("{source: timm, name: resnet18}")
    assert caught.value.hint == "pip install 'namprune[timm]'"


@pytest.mark.parametrize("target", ["build", "Small", "moves"])
def test_code_in_the_current_folder_is_run_and_said(net, target, tmp_path: Path, capfd) -> None:
    path = list(sys.path)
    model = build(f"{{source: python, target: '{net}:{target}'}}")
    assert model(torch.zeros(2, *INPUT)).shape == (2, 5)
    build(f"{{source: python, target: '{net}:{target}'}}")
    out, err = capfd.readouterr()
    assert (out, err) == ("", f"model.target: running {net}:{target} from {tmp_path / net}.py\n")
    assert (sys.path, Path.cwd()) == (path, tmp_path)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("fails", "ValueError: no such"),
        ("nothing", "returns a NoneType, not a torch.nn.Module"),
        ("number", "has no callable 'number'"),
        ("biuld", "has no callable 'biuld'; did you mean 'build'?"),
        ("leaves", "SystemExit: no GPU"),
        ("several", "gives a dict for pictures of 3x32x32, not a logit for each of 5 classes"),
        ("aux", "in training gives a tuple for pictures of 3x32x32"),
        ("single", "in training does not take pictures of 3x32x32: RuntimeError"),
        ("frozen", "nothing in it can be trained"),
        ("Tied", "0.more.weight and 3.weight are one tensor"),
        ("masked", "mask and 0.same are one tensor"),
        ("counting", "_extra_state is a dict, only tensors can be kept"),
    ],
)
def test_a_user_s_code_that_fails_is_named_in_one_line(net, target, message) -> None:
    with pytest.raises(UserError) as caught:
        build(f"{{source: python, target: '{net}:{target}'}}")
    assert message in caught.value.message
    assert f"{net}" in caught.value.message
    assert "\n" not in caught.value.message


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match=r"model\.target nowhere\.net:build: ModuleNotFoundError: No module named"):
        build("{source: python, target: nowhere.net:build}")
