"""Static int8 for onnxruntime: weights and activations in 8 bits, with the ranges of pictures that it was shown."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from namprune.data import Images
from namprune.export.hush import hushed
from namprune.export.onnx import noted
from namprune.export.shipped import Shipped
from namprune.signals import poll

CALIBRATION = 512
"""Pictures that the ranges are taken from, evenly over the split."""
BATCH = 32


def int8_bytes(shipped: Shipped, data: bytes, images: Images, *, metadata: Mapping[str, str]) -> bytes:
    """The ONNX file of a network as one in int8: per channel, QDQ, ranges from least to most of `images`."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = (shipped.fed(x) for x in _spread(images))

        def get_next(self) -> dict[str, object] | None:
            poll()
            batch = next(self.batches, None)
            return None if batch is None else {shipped.input_name: batch.numpy()}

    with hushed(), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "int8.onnx"
        quantize_static(
            onnx.load_from_string(data),
            file,
            Reader(),
            per_channel=True,
            reduce_range=True,  # seven bits of weights: processors without VNNI saturate on eight
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        return noted(onnx.load(file), metadata)


def _spread(images: Images) -> Iterator[Tensor]:
    """Batches of some pictures from all over a split, which may be sorted by class."""
    chosen = torch.zeros(len(images), dtype=torch.bool)
    places = torch.linspace(0, len(images) - 1, min(CALIBRATION, len(images)), dtype=torch.float64)
    chosen[places.round().long()] = True
    batches: Iterable[tuple[Tensor, Tensor]] = images.ordered(batch_size=BATCH)
    for (x, _), mask in zip(batches, torch.split(chosen, BATCH), strict=True):
        if mask.any():
            yield x[mask]
