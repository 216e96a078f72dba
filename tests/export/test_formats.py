"""Files as other programs find them: written to disk, opened by the other library itself."""

import json
import logging
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from safetensors import safe_open
from torch import nn

import namprune
from namprune.checkpoint import to_bytes
from namprune.errors import UserError
from namprune.export import WRITERS, onnx_bytes, require, ship, with_metadata

INPUT = (3, 8, 8)
NOTES = {"namprune.classes": '["a", "<b>", "c"]', "namprune.run": "r"}
MOMENTS = ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
BATCHES = pytest.mark.parametrize("batch", [1, 5])


def normalized(pixels):
    """(N, H, W, C) to float32 (N, C, H, W), by the book."""
    mean, std = (np.asarray(one) for one in MOMENTS)
    return ((pixels.numpy() / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)


def expected(model, x):
    with torch.no_grad():
        return model(torch.from_numpy(x)).numpy()


@pytest.fixture(scope="module")
def onnx_file(tour, tmp_path_factory) -> Path:
    """Every attention as ONNX."""
    file = tmp_path_factory.mktemp("onnx") / "tour.onnx"
    file.write_bytes(onnx_bytes(tour, INPUT, metadata=NOTES))
    return file


@pytest.fixture(scope="module")
def program_file(tour, tmp_path_factory) -> Path:
    """Every attention as a program of PyTorch."""
    file = tmp_path_factory.mktemp("torch") / "tour.pt2"
    file.write_bytes(WRITERS["torch"](ship(tour, INPUT), NOTES).files[".pt2"])
    return file


@BATCHES
def test_onnxruntime_computes_every_attention(onnx_file, tour, pixels, batch) -> None:
    session = onnxruntime.InferenceSession(onnx_file)
    x = normalized(pixels)[:batch]
    (logits,) = session.run(["logits"], {"pictures": x})
    np.testing.assert_allclose(logits, expected(tour, x), atol=1e-5)


def test_an_onnx_file_says_what_it_is_and_not_where_it_was_made(onnx_file) -> None:
    proto = onnx.load(onnx_file)
    onnx.checker.check_model(proto, full_check=True)
    assert {entry.key: entry.value for entry in proto.metadata_props} == NOTES
    assert [entry.version for entry in proto.opset_import if not entry.domain] == [20]
    (entry,) = proto.graph.input
    sizes = [size.dim_param or size.dim_value for size in entry.type.tensor_type.shape.dim]
    assert sizes == ["batch", *INPUT]
    assert str(Path(namprune.__file__).parent).encode() not in onnx_file.read_bytes()
    assert [node.op_type for node in proto.graph.node].count("BatchNormalization") == 2  # behind ULSAM's own operations


@BATCHES
def test_a_program_is_loaded_by_torch_alone(program_file, tour, pixels, batch) -> None:
    notes = {"namprune.json": ""}
    program = torch.export.load(program_file, extra_files=notes)
    assert json.loads(notes["namprune.json"]) == NOTES
    x = normalized(pixels)[:batch]
    np.testing.assert_allclose(program.module()(torch.from_numpy(x)).numpy(), expected(tour, x), atol=1e-5)
    assert str(Path(namprune.__file__).parent).encode() not in program_file.read_bytes()


def test_preprocessing_goes_inside_and_openvino_takes_it(tour, pixels, tmp_path) -> None:
    for suffix, data in WRITERS["openvino"](ship(tour, INPUT, moments=MOMENTS), NOTES).files.items():
        (tmp_path / f"tour{suffix}").write_bytes(data)
    model = openvino.Core().read_model(tmp_path / "tour.xml")
    assert model.get_rt_info(["namprune", "classes"]).astype(str) == NOTES["namprune.classes"]
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for batch in (1, 5):
        logits = compiled({"pixels": pixels[:batch].numpy()})["logits"]
        np.testing.assert_allclose(logits, expected(tour, normalized(pixels)[:batch]), atol=1e-5)
    weights = sum(tensor.numel() for tensor in ship(tour, INPUT).network.state_dict().values())
    assert (tmp_path / "tour.bin").stat().st_size > 4 * 0.9 * weights  # none of them in 16 bits


def test_an_exporter_says_nothing(pixels, capfd, caplog) -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(72, 3))
    handlers = [*logging.getLogger().handlers]
    data = onnx_bytes(model, INPUT, moments=MOMENTS)
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert logging.getLogger().handlers == handlers
    (logits,) = onnxruntime.InferenceSession(data).run(None, {"pixels": pixels.numpy()})
    np.testing.assert_allclose(logits, expected(model, normalized(pixels)), atol=1e-5)


class OnePictureAtATime(nn.Module):
    def forward(self, x):
        return torch.stack([one.mean((1, 2)) for one in x])


def test_a_network_for_one_number_of_pictures_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3), OnePictureAtATime())
    with pytest.raises(UserError, match=r"torch\.export does not take this network") as caught:
        onnx_bytes(model, INPUT)
    assert "\n" not in caught.value.message


def test_safetensors_are_the_same_tensors(tour, tmp_path) -> None:
    file = tmp_path / "tour.safetensors"
    file.write_bytes(with_metadata(to_bytes(tour), NOTES))
    with safe_open(file, framework="np") as opened:
        assert opened.metadata() == NOTES
        assert {*opened.keys()} == {*tour.state_dict()}
        for name, tensor in tour.state_dict().items():
            np.testing.assert_array_equal(opened.get_tensor(name), tensor.numpy())


@pytest.mark.parametrize(("form", "library"), [("onnx", "onnxscript"), ("openvino", "openvino")])
def test_a_missing_library_is_named(monkeypatch, form, library) -> None:
    require(form)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UserError, match=f"{library} is not installed") as caught:
        require(form)
    assert caught.value.hint == f"pip install 'namprune[{form}]'"


def test_a_library_that_is_there_and_broken_is_named(monkeypatch, tmp_path) -> None:
    (tmp_path / "openvino.py").write_text("raise ImportError('libtbb.so:\\n no such file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "openvino")
    with pytest.raises(UserError, match=r"openvino cannot be loaded \(libtbb\.so: no such file\)"):
        require("openvino")
