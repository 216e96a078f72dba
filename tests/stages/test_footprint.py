"""ONNX files as passes: their threads, memory and faults."""

import sys
from pathlib import Path

import onnx
import pytest
from torch import nn

from namprune.export.onnx import onnx_bytes
from namprune.measure.latency import on_threads
from namprune.stages.footprint import Footprint, footprints, onnx_forward

linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells")


def test_a_pass_that_fails_is_a_runtime_error(tmp_path) -> None:
    entry, out = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 2]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [entry], [out])
    file = tmp_path / "for-one.onnx"
    onnx.save(onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 20)]), file)
    onnx_forward(file, 1)()
    with pytest.raises(RuntimeError, match=r"invalid dimensions"):
        onnx_forward(file, 3)()


@pytest.fixture
def wide(tmp_path) -> Path:
    """A network of 16 MB of weights, and next to no activations."""
    file = tmp_path / "wide.onnx"
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 2048), nn.ReLU(), nn.Linear(2048, 2048), nn.Linear(2048, 2))
    file.write_bytes(onnx_bytes(net, (1, 4, 4)))
    return file


@linux
@pytest.mark.slow
def test_it_computes_with_as_many_threads_as_torch(wide) -> None:
    def started(count: int) -> int:
        with on_threads(count):
            before = len(list(Path("/proc/self/task").iterdir()))
            forward = onnx_forward(wide, 1)
        after = len(list(Path("/proc/self/task").iterdir()))
        forward()
        return after - before

    assert started(4) - started(1) == 3


@linux
@pytest.mark.slow
def test_weights_are_counted_once(wide) -> None:
    ((number, batch, peak),) = footprints(Footprint(networks=(str(wide),), batches=(1,), threads=1))
    assert (number, batch) == (0, 1)
    assert peak == pytest.approx(wide.stat().st_size, rel=0.15)
