"""Networks in turns, against their files and records."""

from hashlib import sha256

import pytest
import torch

from namprune import signals
from namprune.checkpoint import to_bytes
from namprune.export.onnx import onnx_bytes
from namprune.measure import complexity, latency
from namprune.models import build_model
from namprune.pruning import prune_model
from namprune.recipe import dump_recipe, load_recipe
from namprune.result import Export, Measurement, to_json
from namprune.runs import RunStore
from namprune.stages.bench import bench
from namprune.stages.network import open_network

SHAPE = (1, 16, 16)
WEIGHTS = "model.safetensors"

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _short_blocks(monkeypatch) -> None:
    monkeypatch.setattr(latency, "BLOCK_SECONDS", 0.002)


@pytest.fixture
def store(tmp_path) -> RunStore:
    """An empty one."""
    return RunStore(tmp_path / "runs")


@pytest.fixture
def runs(store, make_result, make_pruned):
    """An untrained dense run and its cut, by name."""
    recipe = load_recipe("quickstart", overrides=["runtime.device=cpu", "model.width=2"])
    dense = build_model(recipe, classes=10, input_shape=SHAPE)
    cut = prune_model(dense, torch.zeros(1, *SHAPE), ratio=0.5, criterion="l1").model
    text = dump_recipe(recipe)

    def save(name, model, make, **options):
        accuracy = make_result("x").final.val
        stage = Measurement(stage="trained", complexity=complexity(model, SHAPE), val=accuracy, test=accuracy)
        folder = store.create(name, recipe=text)
        folder.write(folder.weights, to_bytes(model))
        folder.finish(make(name, stages=(stage,), classes=tuple("0123456789"), input_shape=SHAPE, **options))
        return folder

    folder = save("d", dense, make_result)
    digest = folder.result().files[WEIGHTS]
    return {
        "d": folder,
        "p": save("p", cut, make_pruned, parent=folder.result(), dense_weights=digest),
    }


@pytest.fixture
def measure(runs, store):
    """Benches runs by name."""

    def measured(*names, **options):
        recipes = {runs[name]: load_recipe(str(runs[name].recipe)) for name in names}
        return bench(recipes, store=store, **options)

    return measured


def test_the_dense_network_is_measured_beside_what_was_cut_from_it(runs, measure) -> None:
    before = torch.get_num_threads()
    found = measure("p", batches=(32, 2), threads=1)
    assert torch.get_num_threads() == before
    assert (found.runtime, found.environment.threads, found.environment.device[:3]) == ("torch", 1, "cpu")
    assert [(one.latency.batch, one.run) for one in found.networks] == [(32, "d"), (32, "p"), (2, "d"), (2, "p")]
    for dense, cut in (found.networks[:2], found.networks[2:]):
        assert (dense.macs_ratio, dense.latency_ratio, dense.bytes_ratio) == (None, None, None)
        assert cut.macs_ratio == cut.macs / dense.macs < 0.6
        assert cut.latency_ratio == cut.latency.median / dense.latency.median
        assert cut.bytes_ratio == cut.bytes / dense.bytes
    for one in found.networks:
        assert (one.file, one.quantize) == (WEIGHTS, "none")
        assert one.bytes == runs[one.run].weights.stat().st_size
        assert one.macs == runs[one.run].result().final.complexity.macs
        assert one.pictures_per_second * one.latency.median == pytest.approx(one.latency.batch)
        assert one.noisy == (one.latency.iqr > 0.1 * one.latency.median)
        assert one.memory > one.bytes
    assert found.networks[0].memory > 1.2 * found.networks[1].memory


def test_every_run_is_measured_once(measure) -> None:
    assert [one.run for one in measure("p", "d", batches=(1,)).networks] == ["d", "p"]


@pytest.mark.parametrize("change", ["gone", "made anew"])
def test_without_its_dense_network_a_run_has_no_ratios(runs, measure, make_result, capsys, change) -> None:
    other = runs["d"].result()
    if change == "gone":
        runs["d"].discard()
    else:
        model, _ = open_network(runs["d"], load_recipe(str(runs["d"].recipe)))
        with torch.no_grad():
            next(model.parameters()).zero_()
        runs["d"].write(runs["d"].weights, to_bytes(model))
        runs["d"].finish(other)  # not taken for the other, although it is asked for itself
    names = ("p",) if change == "gone" else ("d", "p")
    networks = measure(*names, batches=(1,)).networks
    assert [one.run for one in networks] == [*names]
    assert {(one.macs_ratio, one.latency_ratio, one.bytes_ratio) for one in networks} == {(None, None, None)}
    assert "p is measured without it" in capsys.readouterr().err


def test_onnxruntime_runs_what_was_exported(runs, measure, capsys) -> None:
    folder = runs["p"]
    model, result = open_network(folder, load_recipe(str(folder.recipe)))
    moments = ((0.5,), (0.25,))
    data = onnx_bytes(model, SHAPE, moments=moments)  # takes bytes
    folder.exports_folder.mkdir()
    for name, quantize, content in (
        ("a-int8", "int8", data),
        ("model", "none", data),
        ("other", "none", data + b"\0"),
    ):
        record = Export(
            file=f"{name}.onnx",
            format="onnx",
            quantize=quantize,
            bytes=len(data),
            sha256=sha256(data).hexdigest(),
            difference=None,
            val=None,
            test=None,
            weights=result.files[WEIGHTS],
            created="",
            versions={},
        )
        (folder.exports_folder / record.file).write_bytes(content)
        (folder.exports_folder / f"{record.file}.json").write_text(to_json(record))
    found = measure("p", runtime="onnxruntime", batches=(2,), threads=1)
    assert "onnxruntime" in found.environment.versions
    assert [(one.run, one.file, one.quantize) for one in found.networks] == [
        ("d", None, "none"),
        ("p", "export/model.onnx", "none"),
        ("p", "export/a-int8.onnx", "int8"),
    ]
    dense, plain, int8 = found.networks
    assert dense.latency_ratio is None
    for one in (plain, int8):
        assert one.latency_ratio == one.latency.median / dense.latency.median
        assert one.bytes_ratio == one.bytes / dense.bytes
        assert one.bytes == len(data)
    assert min(one.memory for one in found.networks) > 0
    assert "other.onnx is left out: it is not what was exported" in capsys.readouterr().err


def test_a_batch_without_memory_for_it_is_left_out(runs, measure, capsys) -> None:
    found = measure("d", batches=(10**9, 1))
    assert [one.latency.batch for one in found.networks] == [1]
    assert "batch 1000000000 was not measured" in capsys.readouterr().err


NETWORK = """
import __main__
import os
import signal
import time

from torch import nn


def build(num_classes):
    print("said by the network")
    asked_for_memory = getattr(__main__.__spec__, "name", None) == "namprune.stages.footprint"
    if {signal} and asked_for_memory and not os.path.exists("sent"):
        open("sent", "w").close()  # a second signal would end who gets it
        os.kill(os.getppid(), {signal})
        time.sleep(10)
    return nn.Sequential(nn.Flatten(), nn.Linear(256, num_classes))
"""


@pytest.fixture
def users_run(store, make_result, tmp_path, monkeypatch):
    """Saves a run of a user's own network; where its memory is measured, that sends a signal to whoever asked."""
    monkeypatch.chdir(tmp_path)

    def save(name, *, signal=None):
        (tmp_path / f"net_{name}.py").write_text(NETWORK.format(signal=signal))
        section = ["model.source=python", f"model.target=net_{name}:build", "attention.name=none"]
        recipe = load_recipe("quickstart", overrides=["runtime.device=cpu", *section])
        folder = store.create(name, recipe=dump_recipe(recipe))
        folder.write(folder.weights, to_bytes(build_model(recipe, classes=10, input_shape=SHAPE)))
        folder.finish(make_result(name, classes=tuple("0123456789"), input_shape=SHAPE))
        return {folder: recipe}

    return save


def test_a_network_that_prints_is_no_trouble(users_run, store) -> None:
    (one,) = bench(users_run("loud"), store=store, batches=(1,)).networks
    assert one.memory is not None


def test_a_signal_ends_it_wherever_it_comes(users_run, store) -> None:
    runs = users_run("sender", signal="signal.SIGTERM")
    with signals.graceful(silent=True), pytest.raises(signals.Interrupted, match="SIGTERM"):
        bench(runs, store=store, batches=(1,))
