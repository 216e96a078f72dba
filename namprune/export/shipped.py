"""What is handed to an exporter: the folded network on the CPU, what it is fed with, and the libraries that takes."""

import importlib
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from namprune.data.normalize import Normalize
from namprune.errors import UserError
from namprune.export.fold import folded
from namprune.export.hush import hushed
from namprune.result import ExportFormat

Moments = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel, in [0, 1]."""

LIBRARIES: dict[ExportFormat, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "torch": ("torch",),
    "safetensors": ("safetensors",),
    "openvino": ("openvino",),
}
"""What writes and runs a format; the extra of its name installs what namprune itself does not need."""


class FromPixels(nn.Module):
    """A network behind its preprocessing: it reads the bytes of pictures, uint8 (N, H, W, C)."""

    def __init__(self, network: nn.Module, moments: Moments) -> None:
        super().__init__()
        normalize = Normalize(*moments, device=torch.device("cpu"))
        self.network = network
        self.register_buffer("scale", normalize.scale)
        self.register_buffer("shift", normalize.shift)
        self.scale: Tensor
        self.shift: Tensor

    def forward(self, pixels: Tensor) -> Tensor:
        """uint8 (N, H, W, C) -> logits (N, classes)."""
        x = pixels.to(torch.float32) * self.scale + self.shift
        logits: Tensor = self.network(x.permute(0, 3, 1, 2))
        return logits

    def pixels(self, x: Tensor) -> Tensor:
        """The bytes that were normalized to `x`, (N, C, H, W)."""
        return ((x.permute(0, 2, 3, 1) - self.shift) / self.scale).round().clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """A folded network that takes pictures as its training did, or their bytes."""

    network: nn.Module
    input_shape: tuple[int, int, int]

    @property
    def input_name(self) -> Literal["pictures", "pixels"]:
        """`pixels` where they are normalized inside."""
        return "pixels" if isinstance(self.network, FromPixels) else "pictures"

    @property
    def example(self) -> Tensor:
        """A batch of two."""
        return self.fed(torch.zeros(2, *self.input_shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one picture, as it takes it."""
        return tuple(self.example.shape[1:])

    def fed(self, x: Tensor) -> Tensor:
        """Normalized pictures, float32 (N, C, H, W), as it takes them."""
        return self.network.pixels(x) if isinstance(self.network, FromPixels) else x.contiguous()


def ship(model: nn.Module, input_shape: tuple[int, int, int], *, moments: Moments | None = None) -> Shipped:
    """Fold a network; with `moments` the preprocessing goes inside. The model is left as it was."""
    network = folded(model, input_shape).cpu().to(memory_format=torch.contiguous_format)
    return Shipped(network=network if moments is None else FromPixels(network, moments).eval(), input_shape=input_shape)


def require(format: ExportFormat) -> None:  # noqa: A002 - its name everywhere
    """Raise UserError unless the libraries of a format can be imported."""
    for library in LIBRARIES[format]:
        try:
            with hushed():
                importlib.import_module(library)
        except ImportError as error:
            absent = isinstance(error, ModuleNotFoundError) and error.name == library
            fault = "is not installed" if absent else f"cannot be loaded ({' '.join(str(error).split())})"
            raise UserError(
                f"export: {library} {fault}, which it needs", hint=f"pip install 'namprune[{format}]'"
            ) from error
