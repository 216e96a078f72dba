"""Weights from files and publishers: taken exactly, or refused by the names of their layers, and nothing is run."""

import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from namprune.errors import UserError
from namprune.models import build_model, weights
from namprune.models.weights import copy_tensors
from namprune.recipe import parse_recipe

INPUT = (3, 32, 32)
NAME = "mobilenet_v3_small"


def build(file: object, *, name: str = NAME, classes: int = 5, epochs: int = 1, attention: str = "none") -> nn.Module:
    text = (
        f"data: {{name: digits}}\nmodel: {{source: torchvision, name: {name}, weights: '{file}'}}\n"
        f"attention: {{name: {attention}}}\ntrain: {{epochs: {epochs}}}\nfinetune: {{epochs: 0}}"
    )
    return build_model(parse_recipe(text, source="x"), classes=classes, input_shape=INPUT, pretrained=True)


def tensors(name: str = NAME, *, classes: int = 5) -> dict[str, Tensor]:
    """What another training left, with no value as a constructor sets it."""
    torch.manual_seed(7)
    options = {"aux_logits": True, "init_weights": False} if name == "googlenet" else {}
    state = torchvision.models.get_model(name, weights=None, num_classes=classes, **options).state_dict()
    return {key: torch.rand_like(value) if value.is_floating_point() else value + 3 for key, value in state.items()}


def same(model: nn.Module, expected: dict[str, Tensor]) -> bool:
    own = model.state_dict()
    return own.keys() == expected.keys() and all(torch.equal(own[name], expected[name]) for name in own)


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def write(content: object, name: str = "net.pth", **options) -> Path:
        path = tmp_path / name
        if path.suffix == ".safetensors":
            save_file(content, path)
        else:
            torch.save(content, path, **options)
        return path

    return write


@pytest.mark.parametrize(
    ("name", "wrap", "options"),
    [
        ("net.safetensors", dict, {}),
        ("net.pth", dict, {}),
        ("old.pth", dict, {"_use_new_zipfile_serialization": False}),
        ("net.ckpt", lambda state: {"state_dict": state, "epoch": 3, "optimizer": {"lr": 0.1}}, {}),
        ("net.pt", lambda state: {"model": state}, {}),
        ("net.pt", lambda state: {f"module.{name}": tensor for name, tensor in state.items()}, {}),
        ("net.pt", lambda state: {"model": {f"_orig_mod.module.{k}": v for k, v in state.items()}}, {}),
    ],
)
def test_a_file_s_weights_are_taken_exactly(file, name, wrap, options) -> None:
    state = tensors()
    assert same(build(file(wrap(state), name, **options)), state)


def test_without_pretrained_the_weights_are_not_looked_at() -> None:
    text = f"data: {{name: digits}}\nmodel: {{source: torchvision, name: {NAME}, weights: gone.pth}}\n"
    recipe = parse_recipe(text + "train: {epochs: 1}\nfinetune: {epochs: 0}", source="x")
    model = build_model(recipe, classes=5, input_shape=INPUT)
    assert model.eval()(torch.zeros(1, *INPUT)).shape == (1, 5)


def test_half_precision_is_widened_and_missing_counts_are_no_fault(file) -> None:
    state = {name: tensor.half() for name, tensor in tensors().items() if not name.endswith("num_batches_tracked")}
    own = build(file(state)).state_dict()
    assert all(own[name].dtype == torch.float32 and torch.equal(own[name], state[name].float()) for name in state)


def test_the_old_names_of_densenet_are_understood(file) -> None:
    state = tensors("densenet121")
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", name): state[name] for name in state}
    assert old.keys() != state.keys()
    assert same(build(file(old), name="densenet121"), state)


def test_googlenet_s_second_outputs_are_left_out_and_its_pictures_normalized_its_way(file) -> None:
    state = tensors("googlenet")
    model = build(file(state), name="googlenet")
    assert same(model, {name: tensor for name, tensor in state.items() if not name.startswith("aux")})
    assert model.transform_input


@pytest.mark.parametrize("name", [NAME, "squeezenet1_1", "resnet18"])
def test_a_classifier_of_other_classes_starts_fresh_where_it_is_trained(file, name, capfd) -> None:
    state = tensors(name, classes=7)
    path = file(state)
    model = build(path, name=name, classes=5)
    head = [key for key, tensor in model.state_dict().items() if tensor.shape != state[key].shape]
    own, fresh = model.state_dict(), build_model_fresh(name)
    assert all(torch.equal(own[key], (fresh if key in head else state)[key]) for key in own)
    layer = head[0].rpartition(".")[0]
    said = f"{path}: the weights know 7 classes, the pictures have 5: the classifier ({layer}) starts fresh"
    assert said in capfd.readouterr().err
    with pytest.raises(UserError, match=r"the weights know 7 classes, the pictures have 5$") as caught:
        build(path, name=name, classes=5, epochs=0)
    assert "train.epochs" in str(caught.value.hint)


def build_model_fresh(name: str) -> dict[str, Tensor]:
    text = f"data: {{name: digits}}\nmodel: {{source: torchvision, name: {name}}}\ntrain: {{epochs: 1}}"
    recipe = parse_recipe(f"{text}\nfinetune: {{epochs: 0}}", source="x")
    return dict(build_model(recipe, classes=5, input_shape=INPUT).state_dict())


def test_weights_without_a_classifier_are_those_of_a_backbone(file, capfd) -> None:
    state = {name: tensor for name, tensor in tensors().items() if not name.startswith("classifier.3")}
    build(file(state))
    assert "the weights know no classes, the pictures have 5" in capfd.readouterr().err


def _without(state: dict[str, Tensor]) -> None:
    for name in list(state)[:5]:
        del state[name]


def _with_more(state: dict[str, Tensor]) -> None:
    state["extra.weight"] = torch.zeros(1)


def _other_shape(state: dict[str, Tensor]) -> None:
    state["features.0.0.weight"] = torch.zeros(16, 3, 5, 5)


def _other_head(state: dict[str, Tensor]) -> None:
    state["classifier.3.weight"] = torch.zeros(5, 99)


def _other_biases(state: dict[str, Tensor]) -> None:
    state["classifier.3.bias"] = torch.zeros(7)


def _no_numbers(state: dict[str, Tensor]) -> None:
    state["features.0.1.running_var"][3] = float("nan")
    state["features.0.0.weight"] = torch.full((16, 3, 3, 3), 1e39, dtype=torch.float64)  # infinite in float32


def _other_kinds(state: dict[str, Tensor]) -> None:
    state["features.0.0.weight"] = state["features.0.0.weight"].to(torch.complex64)
    state["features.0.1.weight"] = state["features.0.1.weight"].to(torch.int8)


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (
            _without,
            "features.0.0.weight is missing; features.0.1.weight is missing; features.0.1.bias is missing and 2",
        ),
        (_with_more, "extra.weight is unknown"),
        (_other_shape, "features.0.0.weight is [16, 3, 5, 5] instead of [16, 3, 3, 3]"),
        (_other_head, "classifier.3.weight is [5, 99] instead of [5, 1024]"),
        (_other_biases, "classifier.3.bias is [7] instead of [5]"),
        (
            _no_numbers,
            "features.0.0.weight has values that are no finite numbers; features.0.1.running_var has values",
        ),
        (
            _other_kinds,
            "features.0.0.weight is complex64 instead of floating point; features.0.1.weight is int8 instead",
        ),
    ],
)
@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
def test_layers_that_do_not_fit_are_named(file, damage, fault, name) -> None:
    state = tensors()
    damage(state)
    path = file(state, name)
    with pytest.raises(UserError) as caught:
        build(path)
    assert caught.value.message.startswith(f"model.weights {path}: do not fit {NAME} (torchvision): {fault}")


class Payload:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, (str(self.mark),))


@pytest.mark.parametrize("new", [True, False])
def test_a_pickle_with_a_payload_is_refused_and_not_run(file, tmp_path: Path, new) -> None:
    mark = tmp_path / "run"
    state = {**tensors(), "payload": Payload(mark)}
    path = file(state, _use_new_zipfile_serialization=new)
    with pytest.raises(UserError) as caught:
        build(path)
    assert caught.value.message.startswith(f"model.weights {path}: no file of tensors alone")
    assert "\n" not in caught.value.message
    assert not mark.exists()
    torch.load(path, weights_only=False)  # the payload is a real one
    assert mark.exists()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (nn.Linear(2, 2), "no file of tensors alone"),  # a whole network
        ([torch.zeros(1)], "no state dict of tensors (it holds none)"),
        ({}, "it holds none"),
        ({"epoch": 3}, "'epoch' is no plain tensor"),
        ({"a": torch.zeros(2).to_sparse()}, "'a' is no plain tensor"),
        ({"a": torch.zeros(2, device="meta")}, "'a' is no plain tensor"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(file, content, fault) -> None:
    with pytest.raises(UserError, match=re.escape(fault)):
        build(file(content))


@pytest.mark.parametrize("name", ["net.pth", "net.safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02" + bytes(50), b"PK\x03\x04" + bytes(60), bytes(64)])
def test_what_is_no_file_of_weights_is_refused(tmp_path: Path, name, content) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=r"no (safetensors file|file of tensors alone)"):
        build(tmp_path / name)


def test_more_than_the_network_can_need_is_refused_before_it_is_read(tmp_path: Path) -> None:
    for name in ("huge.pth", "huge.safetensors"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(40 * 2**30)  # a sparse file
        with pytest.raises(UserError, match="42,950 MB are more than this network can need"):
            build(tmp_path / name)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "SPARE_BYTES", 0)
    with zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(60 * 2**20))
    with pytest.raises(UserError, match="unpacked it is more than this network can need"):
        build(tmp_path / "bomb.pth")


def test_a_safetensors_file_without_tensors_is_refused(file) -> None:
    with pytest.raises(UserError, match="is missing and 205 more"):
        build(file({}, "net.safetensors"))


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.pth: no such file"):
        build(tmp_path / "gone.pth")
    with pytest.raises(UserError, match="not a file"):
        build(tmp_path)


def test_published_weights_come_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    url = torchvision.models.get_model_weights(NAME).DEFAULT.url
    (cache := tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    state = tensors(classes=1000)
    torch.save(state, cache / url.rpartition("/")[2])
    assert same(build("DEFAULT", classes=1000), state)


def test_without_a_network_a_file_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"those of mobilenet_v3_small \(torchvision\) could not be fetched") as caught:
        build("DEFAULT", classes=1000)
    assert "model.weights" in str(caught.value.hint)


def test_mnasnet_takes_tensors_that_have_no_version() -> None:
    model, state = torchvision.models.mnasnet0_5(num_classes=5), tensors("mnasnet0_5")
    copy_tensors(model, state)  # its own load_state_dict raises
    assert same(model, state)


def test_weights_come_before_attention(file) -> None:
    state = tensors()
    model = build(file(state), attention="half")
    norm = model.features[4].block[3][1].norm
    assert torch.equal(norm.weight, 2 * state["features.4.block.3.1.weight"])
    assert torch.equal(norm.running_var, state["features.4.block.3.1.running_var"])
