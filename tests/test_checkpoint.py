import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from namprune.checkpoint import fresh_network, load_network, to_bytes
from namprune.errors import RunError
from namprune.models import build_model
from namprune.pruning import prune_model
from namprune.recipe.schema import Recipe

INPUT = (3, 8, 8)
PICTURES = torch.randn(2, *INPUT, generator=torch.Generator().manual_seed(0))
CLASSES = 10


def _recipe(model: str = "resnet20", attention: str = "none") -> Recipe:
    width = 0.25 if model == "resnet50" else 1.0
    parts: dict[str, dict[str, object]] = {"none": {"name": "none"}, "channel": {"name": "nam"}}
    parts |= {name: {"name": name, "reduction": 2} for name in ("se", "cbam", "bam")}
    parts |= {name: {"name": name} for name in ("sa", "ulsam")}
    both = {"name": "nam", "part": "both", "placement": "both"}
    return Recipe.model_validate(
        {
            "data": {"name": "digits"},
            "model": {"name": model, "width": width},
            "attention": parts.get(attention, both),
            "train": {"epochs": 1},
            "finetune": {"epochs": 1},
        }
    )


@torch.no_grad()
def _network(recipe: Recipe) -> nn.Module:
    """With values that no constructor gives."""
    model = build_model(recipe, classes=CLASSES, input_shape=INPUT)
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            for tensor in (module.weight, module.bias, module.running_mean, module.running_var):
                tensor.uniform_(0.1, 1.0)
    return model


def _load(recipe: Recipe, weights: Path) -> nn.Module:
    return load_network(recipe, weights, classes=CLASSES, input_shape=INPUT)


def _logits(model: nn.Module) -> Tensor:
    with torch.inference_mode():
        return model.eval()(PICTURES)


@pytest.mark.parametrize("attention", ["none", "channel", "both"])
@pytest.mark.parametrize("name", ["resnet20", "mobilenetv2", "resnet50"])
def test_dense_and_pruned_networks_come_back_to_the_bit(name: str, attention: str, tmp_path: Path) -> None:
    recipe = _recipe(name, attention)
    model, weights = _network(recipe), tmp_path / "model.safetensors"
    for _ in range(2):
        weights.write_bytes(to_bytes(model))
        loaded = _load(recipe, weights)
        assert loaded.training
        assert torch.equal(_logits(loaded), _logits(model))
        assert to_bytes(loaded) == to_bytes(model)
        assert repr(loaded) == repr(model)  # the widths that layers print are those they have
        model = prune_model(model, PICTURES, ratio=0.5).model


@pytest.mark.parametrize("attention", ["se", "cbam", "bam"])
def test_shrunk_bottlenecks_come_back_to_the_bit(attention: str, tmp_path: Path) -> None:
    recipe = _recipe("resnet20", attention)
    model, weights = _network(recipe), tmp_path / "model.safetensors"
    pruned = prune_model(model, PICTURES, ratio=0.5, bottlenecks="shrink")
    assert pruned.plan.bottlenecks
    model = pruned.model
    weights.write_bytes(to_bytes(model))
    loaded = _load(recipe, weights)
    assert torch.equal(_logits(loaded), _logits(model))
    assert repr(loaded) == repr(model)


@pytest.mark.parametrize(("name", "attention"), [("mobilenetv2", "both"), ("resnet20", "bam")])
def test_a_loaded_network_is_pruned_again_like_the_saved_one(name: str, attention: str, tmp_path: Path) -> None:
    recipe = _recipe(name, attention)
    model, weights = _network(recipe), tmp_path / "model.safetensors"
    model = prune_model(model, PICTURES, ratio=0.4, bottlenecks="shrink").model
    weights.write_bytes(to_bytes(model))
    once, again = (
        prune_model(network, PICTURES, ratio=0.4, bottlenecks="shrink") for network in (model, _load(recipe, weights))
    )
    assert once.plan == again.plan
    assert to_bytes(once.model) == to_bytes(again.model)


@pytest.mark.parametrize("attention", ["channel", "sa", "ulsam", "bam"])
def test_a_fresh_network_has_the_widths_of_the_file_and_the_start_of_a_new_one(attention: str, tmp_path: Path) -> None:
    recipe = _recipe("resnet20", attention)
    model, weights = _network(recipe), tmp_path / "model.safetensors"
    model = prune_model(model, PICTURES, ratio=0.5, bottlenecks="shrink").model
    weights.write_bytes(to_bytes(model))
    fresh = fresh_network(recipe, weights, classes=10, input_shape=INPUT)
    assert repr(fresh) == repr(model)
    assert torch.isfinite(_logits(fresh)).all()
    for layer in fresh.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert torch.equal(layer.weight, torch.ones_like(layer.weight))
            assert torch.equal(layer.running_mean, torch.zeros_like(layer.running_mean))
    # Kaiming's deviation, fan out, for the narrow layer, not for the wide one that it was cut from
    narrow = fresh.stages[2][0].conv1.weight
    assert narrow.std().item() == pytest.approx((2 / (9 * len(narrow))) ** 0.5, rel=0.1)
    again = fresh_network(recipe, weights, classes=10, input_shape=INPUT)
    assert to_bytes(again) == to_bytes(fresh)


@pytest.mark.slow
def test_another_process_gets_the_same_logits(tmp_path: Path) -> None:
    recipe = _recipe("resnet20", "both")
    model, weights = _network(recipe), tmp_path / "model.safetensors"
    model = prune_model(model, PICTURES, ratio=0.5).model
    weights.write_bytes(to_bytes(model))
    (tmp_path / "recipe.json").write_text(recipe.model_dump_json())
    save_file({"x": PICTURES}, tmp_path / "pictures")
    script = """
import sys, pathlib, torch
from safetensors.torch import load_file, save_file
from namprune.checkpoint import fresh_network, load_network
from namprune.recipe.schema import Recipe
folder = pathlib.Path(sys.argv[1])
recipe = Recipe.model_validate_json((folder / "recipe.json").read_text())
model = load_network(recipe, folder / "model.safetensors", classes=10, input_shape=(3, 8, 8)).eval()
with torch.inference_mode():
    save_file({"y": model(load_file(folder / "pictures")["x"])}, folder / "logits")
assert "torch_pruning" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    assert torch.equal(load_file(tmp_path / "logits")["y"], _logits(model))


Tensors = dict[str, Tensor]


def _without(tensors: Tensors) -> None:
    del tensors["stages.0.0.conv1.weight"]


def _with_more(tensors: Tensors) -> None:
    tensors["stages.0.0.conv9.weight"] = torch.zeros(1)


def _wider(tensors: Tensors) -> None:
    tensors["stages.0.0.bn1.weight"] = torch.zeros(17)


def _empty(tensors: Tensors) -> None:
    tensors["stages.0.0.conv1.weight"] = torch.zeros(0, 16, 3, 3)


def _flat(tensors: Tensors) -> None:
    tensors["stages.0.0.conv1.weight"] = torch.zeros(16 * 16 * 9)


def _scalar(tensors: Tensors) -> None:
    tensors["stages.0.0.bn1.num_batches_tracked"] = torch.zeros(1, dtype=torch.int64)


def _unfitting(tensors: Tensors) -> None:
    tensors["stages.0.0.conv1.weight"] = torch.zeros(9, 16, 3, 3)


def _other_kernel(tensors: Tensors) -> None:
    tensors["stages.0.0.conv1.weight"] = torch.zeros(16, 16, 2, 2)


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (_without, "stages.0.0.conv1.weight is missing"),
        (_with_more, "stages.0.0.conv9.weight is unknown"),
        (_wider, "stages.0.0.bn1.weight has the shape [17]"),
        (_empty, "has the shape [0, 16, 3, 3]"),
        (_flat, "has the shape [2304]"),
        (_scalar, "has the shape [1]"),
        (_unfitting, "widths do not fit together"),
        (_other_kernel, "has the shape"),
    ],
)
def test_foreign_tensors_are_refused_in_one_line(damage: Callable[[Tensors], None], fault: str, tmp_path: Path) -> None:
    recipe, weights = _recipe(), tmp_path / "model.safetensors"
    tensors = dict(_network(recipe).state_dict())
    damage(tensors)
    save_file(tensors, weights)
    _refused(recipe, weights, fault)


def _truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _no_header(content: bytes) -> bytes:
    return content[:5]


def _pickle(_: bytes) -> bytes:
    return b"\x80\x04\x95" + bytes(100)


@pytest.mark.parametrize("damage", [_truncated, _no_header, _pickle, lambda _: b""])
def test_a_file_that_is_no_safetensors_file_is_refused(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    recipe, weights = _recipe(), tmp_path / "model.safetensors"
    weights.write_bytes(damage(to_bytes(_network(recipe))))
    _refused(recipe, weights, "cannot be read")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    _refused(_recipe(), tmp_path / "model.safetensors", "cannot be read")


def test_a_billion_channels_are_refused_before_any_memory_is_taken(tmp_path: Path) -> None:
    """The file is sparse and its header consistent: only the recipe says that this is too much."""
    recipe, weights = _recipe(), tmp_path / "model.safetensors"
    header, end = {}, 0
    for name, tensor in _network(recipe).state_dict().items():
        shape = [10**9] if name == "stages.0.0.bn1.weight" else list(tensor.shape)
        size = 4 * 10**9 if shape == [10**9] else tensor.numel() * tensor.element_size()
        kind = "I64" if tensor.dtype == torch.int64 else "F32"
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with weights.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    _refused(recipe, weights, "has the shape [1000000000], the recipe allows up to [16]")


def _refused(recipe: Recipe, weights: Path, fault: str) -> None:
    with pytest.raises(RunError) as caught:
        _load(recipe, weights)
    assert fault in caught.value.message
    assert str(weights) in caught.value.message
    assert "\n" not in caught.value.message
