import logging

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from namprune.export import int8_bytes, ship
from namprune.export.onnx import write_onnx
from namprune.export.quantize import CALIBRATION

INPUT = (3, 8, 8)
NOTES = {"namprune.run": "r"}


class Sorted:
    """Pictures that grow brighter, as a folder that is sorted by class might have them."""

    def __init__(self, count: int) -> None:
        generator = torch.Generator().manual_seed(0)
        scale = torch.linspace(0.01, 1, count)[:, None, None, None]
        self.x = scale * torch.randn(count, *INPUT, generator=generator)
        self.given = 0

    def __len__(self) -> int:
        return len(self.x)

    def ordered(self, *, batch_size):
        for x in torch.split(self.x, batch_size):
            self.given += len(x)
            yield x, torch.zeros(len(x), dtype=torch.int64)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """With a BatchNorm that stays, of which the quantizer warns."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))
        return nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 16, 3), nn.ReLU(), *head).eval()


@pytest.fixture(scope="module")
def float_file(network) -> bytes:
    """In float32."""
    return write_onnx(ship(network, INPUT), metadata={"other": "notes"})


@pytest.mark.parametrize("count", [100, CALIBRATION, 3 * CALIBRATION])
def test_ranges_are_those_of_pictures_from_all_over(network, float_file, count) -> None:
    images = Sorted(count)
    data = int8_bytes(ship(network, INPUT), float_file, images, metadata=NOTES)
    assert images.given == count
    x = images.x[-50:]  # on the first alone they would saturate
    with torch.no_grad():
        expected = network(x).numpy()
    (logits,) = onnxruntime.InferenceSession(data).run(None, {"pictures": x.numpy()})
    assert np.abs(logits - expected).mean() < 0.03 * np.abs(expected).mean()


def test_a_network_that_takes_bytes_is_shown_bytes(network) -> None:
    shipped = ship(network, INPUT, moments=((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)))
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (64, *INPUT[1:], INPUT[0]), generator=generator, dtype=torch.uint8)
    images = Sorted(64)
    images.x = ((pixels / 255 - torch.tensor([0.5, 0.4, 0.3])) / torch.tensor([0.2, 0.3, 0.4])).permute(0, 3, 1, 2)
    data = int8_bytes(shipped, write_onnx(shipped, metadata={}), images, metadata=NOTES)
    with torch.no_grad():
        expected = network(images.x).numpy()
    (logits,) = onnxruntime.InferenceSession(data).run(None, {"pixels": pixels.numpy()})
    assert np.abs(logits - expected).mean() < 0.05 * np.abs(expected).mean()


def test_weights_are_in_7_bits_per_channel_and_nothing_is_said(network, float_file, capfd) -> None:
    handlers = [*logging.getLogger().handlers]
    proto = onnx.load_from_string(int8_bytes(ship(network, INPUT), float_file, Sorted(64), metadata=NOTES))
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")
    assert logging.getLogger().handlers == handlers
    assert {entry.key: entry.value for entry in proto.metadata_props} == NOTES
    (kernel,) = [one for one in proto.graph.initializer if tuple(one.dims) == (16, 3, 3, 3)]
    values = onnx.numpy_helper.to_array(kernel)
    assert values.dtype == np.int8
    assert (np.abs(values).reshape(16, -1).max(1) == 64).all()  # each channel by its own largest weight
