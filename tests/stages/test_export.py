import dataclasses
import json
import os
import shutil
import signal
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load, load_file, save

from namprune import signals
from namprune.checkpoint import to_bytes
from namprune.data import build_data
from namprune.errors import DataError, ProofError, RunError, UserError
from namprune.export import with_metadata
from namprune.models import build_model
from namprune.recipe import dump_recipe, load_recipe
from namprune.result import to_json
from namprune.runs import RunFolder, RunStore
from namprune.stages import export
from namprune.stages.export import export_run
from namprune.stages.network import open_network
from namprune.stages.prune import prune


def own_recipe(run, *overrides):
    return load_recipe(str(run.recipe), overrides=overrides)


@pytest.fixture(scope="module")
def small(trained, tmp_path_factory) -> RunFolder:
    """A network with NAM that was cut by half, and fine-tuned."""
    store = RunStore(tmp_path_factory.mktemp("exported"))
    shutil.copytree(trained[1].path, store.root / "dense")
    run = store.open("dense")
    return store.open(prune(run, own_recipe(run, "prune.ratio=0.5"), store=store, name="small").name)


@pytest.fixture(scope="module")
def int8(small):
    """The file and its record."""
    return export_run(small, own_recipe(small, "runtime.device=cuda"), quantize="int8")  # it is made on the CPU anyway


@pytest.fixture
def copied(small, tmp_path) -> RunFolder:
    """A copy to break, without exports."""
    shutil.copytree(small.path, tmp_path / "small", ignore=shutil.ignore_patterns("export"))
    return RunStore(tmp_path).open("small")


def test_int8_accuracy_is_that_of_onnxruntime(small, int8) -> None:
    file, record = int8
    assert file == small.path / "export" / "model-int8.onnx"
    assert (record.file, record.format, record.quantize, record.difference) == (file.name, "onnx", "int8", None)
    assert (record.bytes, record.sha256) == (file.stat().st_size, sha256(file.read_bytes()).hexdigest())
    session = onnxruntime.InferenceSession(file)
    data = build_data(own_recipe(small).data, device=torch.device("cpu"))
    for split, found in (("val", record.val), ("test", record.test)):
        ((x, y),) = getattr(data, split).ordered(batch_size=10_000)
        (logits,) = session.run(None, {"pictures": x.contiguous().numpy()})
        assert found.images == len(y)
        assert found.top1 == pytest.approx((logits.argmax(1) == y.numpy()).mean())
    assert record.test.top1 > small.result().final.test.top1 - 0.03


def test_an_int8_file_holds_its_weights_in_8_bits_and_its_notes(small, int8) -> None:
    proto = onnx.load(int8[0])
    kernels = [one for one in proto.graph.initializer if len(one.dims) == 4]
    assert len(kernels) == 21
    assert {one.data_type for one in kernels} == {onnx.TensorProto.INT8}
    notes = {entry.key.removeprefix("namprune."): entry.value for entry in proto.metadata_props}
    result = small.result()
    assert json.loads(notes["classes"]) == [*"0123456789"]
    assert (notes["run"], notes["quantize"]) == ("small", "int8")
    assert notes["weights_sha256"] == result.files["model.safetensors"]
    assert (notes["recipe_digest"], notes["data_digest"]) == (result.recipe_digest, result.data_digest)
    assert int(notes["params"]) == result.final.complexity.params
    said = json.loads(notes["preprocessing"])
    assert (said["side"], said["channels"], said["inside"], said["layout"]) == (8, 1, False, "NCHW")
    assert (said["mean"], said["std"]) == ([pytest.approx(0.3053)], [pytest.approx(0.3759)])


def test_a_run_is_read_and_deleted_with_its_exports(small, int8, copied) -> None:
    assert small.exports() == (int8[1],)
    small.verify()
    shutil.copytree(small.exports_folder, copied.exports_folder)
    assert copied.exports() == (int8[1],)
    notes = copied.exports_folder / "model-int8.onnx.json"
    for change in ({"weights": "0" * 64}, {"file": "../model.safetensors"}):  # made anew; and foreign
        notes.write_text(to_json(dataclasses.replace(int8[1], **change)))
        assert copied.exports() == ()
    notes.write_text("{")
    assert copied.exports() == ()
    notes.write_text(to_json(int8[1]))
    (copied.exports_folder / "model-int8.onnx").unlink()
    assert copied.exports() == ()
    copied.discard()
    assert not copied.path.exists()


def test_a_program_takes_bytes(small, tmp_path) -> None:
    file, record = export_run(small, own_recipe(small), form="torch", preprocess=True, out=tmp_path / "new" / "net.pt2")
    assert file == tmp_path / "new" / "net.pt2"
    assert sorted(path.name for path in file.parent.iterdir()) == ["net.pt2", "net.pt2.json"]
    assert 0 <= record.difference < 1e-4
    pixels = torch.randint(256, (3, 8, 8, 1), dtype=torch.uint8)
    x = torch.from_numpy((pixels.numpy() / 255 - 0.3053) / 0.3759).float().permute(0, 3, 1, 2)
    model, _ = open_network(small, own_recipe(small))
    with torch.no_grad():
        expected = model.eval()(x)
    np.testing.assert_allclose(torch.export.load(file).module()(pixels), expected, atol=1e-4)


def test_safetensors_hold_all_that_rebuilds_the_network(small) -> None:
    file, record = export_run(small, own_recipe(small), form="safetensors")
    assert record.difference == 0
    with safe_open(file, framework="np") as opened:
        text = opened.metadata()["namprune.recipe"]
    assert "resnet20" in text
    assert str(Path.cwd()) not in text
    before, after = load_file(small.weights), load_file(file)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_what_computes_something_else_is_not_kept(copied, monkeypatch, tmp_path) -> None:
    def spoiled(weights, metadata):
        tensors = load(weights)
        tensors["stem.0.weight"][0, 0, 1, 1] += 0.1
        return with_metadata(save(tensors), metadata)

    monkeypatch.setattr(export, "with_metadata", spoiled)
    out = tmp_path / "out" / "net.safetensors"
    for place in (None, out):
        with pytest.raises(ProofError, match="nothing was written"):
            export_run(copied, own_recipe(copied), form="safetensors", out=place)
    assert not copied.exports_folder.exists()
    assert not out.parent.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"form": "torch", "quantize": "int8"}, "int8 goes with --format onnx"),
        ({"form": "safetensors", "preprocess": True}, "safetensors holds tensors alone"),
        ({"form": "openvino", "out": Path("net.onnx")}, r"openvino end in \.xml"),
        ({"out": Path()}, r"onnx end in \.onnx"),
    ],
)
def test_options_that_do_not_go_together_are_refused(small, options, said) -> None:
    with pytest.raises(UserError, match=said):
        export_run(small, own_recipe(small), **options)


def test_a_signal_ends_it_at_once_and_leaves_nothing(copied, monkeypatch) -> None:
    monkeypatch.setattr(export, "checked", lambda *_: os.kill(os.getpid(), signal.SIGINT))
    with signals.graceful(silent=True), pytest.raises(signals.Interrupted):
        export_run(copied, own_recipe(copied), form="safetensors")
    assert not copied.exports_folder.exists()


def test_a_place_that_cannot_be_written_is_named(small, tmp_path) -> None:
    (tmp_path / "words").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        export_run(small, own_recipe(small), form="safetensors", out=tmp_path / "words" / "net.safetensors")
    (tmp_path / "net.safetensors").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        export_run(small, own_recipe(small), form="safetensors", out=tmp_path / "net.safetensors")


@pytest.mark.parametrize("place", ["model.safetensors", "export/model.safetensors", "new/net.safetensors"])
def test_no_run_is_written_into_but_its_own_exports(small, copied, monkeypatch, place) -> None:
    monkeypatch.chdir(copied.path)  # of another run
    with pytest.raises(UserError, match="in the folder of run 'small'"):
        export_run(small, own_recipe(small), form="safetensors", out=Path(place))
    copied.verify()
    own, _ = export_run(copied, own_recipe(copied), form="safetensors", out=copied.exports_folder / "net.safetensors")
    assert own.is_file()


@pytest.fixture
def far_away(tmp_path, make_result) -> RunFolder:
    """A run whose pictures, and the weights that it began with, are on another machine."""
    gone = tmp_path / "gone"
    model = f"model={{source: torchvision, name: shufflenet_v2_x0_5, weights: {gone / 'first.pth'}}}"
    recipe = load_recipe("resnet20", overrides=[model, f"data.root={gone}"])
    folder = RunStore(tmp_path / "far").create("r", recipe=dump_recipe(recipe))
    folder.write(folder.weights, to_bytes(build_model(recipe, classes=2, input_shape=(3, 32, 32))))
    folder.finish(make_result("r", model="resnet20"))
    return folder


def test_only_int8_needs_the_pictures(far_away, capsys) -> None:
    with pytest.raises(DataError, match="gone"):
        export_run(far_away, own_recipe(far_away), quantize="int8")
    assert not far_away.exports_folder.exists()
    file, record = export_run(far_away, own_recipe(far_away), form="safetensors")
    assert record.difference == 0
    assert "noise alone" in capsys.readouterr().err
    with safe_open(file, framework="np") as opened:
        text = opened.metadata()["namprune.recipe"]
    assert "weights: first.pth\n" in text
    assert "gone" not in text


def test_a_tampered_run_is_not_exported(copied) -> None:
    with copied.weights.open("ab") as file:
        file.write(b" ")
    with pytest.raises(RunError, match="SHA-256 differs"):
        export_run(copied, own_recipe(copied))
