"""What the hardware allows a training: its peaks, and the work of a network per picture. Read by bench_training.py.

    pictures/s <= min(FLOP/s / FLOPs, bytes/s / bytes)

FLOPs = 3 * 2 * MACs: forward and two gradients. Bytes are what the layers move when each reads and writes its tensors
once per pass, in elements: convolution and linear 3 (in + out); BatchNorm and NAM, fused, 8 out (3 forward, 5
backward); ReLU 5 out; other layers 2 (in + out). Weights and residual additions are left out. A small batch may be
served from the cache and come out above, and so may kernels that are fused over several layers.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from namprune.attention.contract import Attention
from namprune.measure import complexity

DATA_SHEETS = {"H200": (989e12, 4.8e12), "H100": (989e12, 3.35e12), "A100": (312e12, 2.0e12)}
"""FLOP/s in bf16 without sparsity and bytes/s, of the SXM modules."""


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """Of a device."""

    flops: float
    bandwidth: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Work:
    """Of training on one picture."""

    flops: float
    bytes: float


def work_of(model: nn.Module, shape: tuple[int, int, int], *, bf16: bool) -> Work:
    """What training on a picture takes."""
    return Work(flops=6 * complexity(model, shape).macs, bytes=(2 if bf16 else 4) * _moved_elements(model, shape))


def _moved_elements(model: nn.Module, shape: tuple[int, int, int]) -> float:
    moved = 0.0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        nonlocal moved
        both = inputs[0].numel() + out.numel()
        match module:
            case nn.Conv2d() | nn.Linear():
                moved += 3 * both
            case nn.BatchNorm2d() | Attention():
                moved += 8 * out.numel()
            case nn.ReLU() | nn.ReLU6():
                moved += 5 * out.numel()
            case nn.Identity():
                pass
            case _:
                moved += 2 * both

    model = copy.deepcopy(model).cpu()
    gates = [module for module in model.modules() if isinstance(module, Attention)]
    inside = {id(part) for gate in gates for part in gate.modules() if part is not gate}
    for module in model.modules():
        if id(module) not in inside and (isinstance(module, Attention) or not [*module.children()]):
            module.register_forward_hook(count)
    with torch.no_grad():
        model(torch.randn(2, *shape))
    return moved / 2


def peaks_of(device: torch.device, *, bf16: bool) -> Peaks:
    """From the data sheet where the GPU is known; else the best 3x3 convolution and a large copy, measured."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    for known, (flops, bandwidth) in DATA_SHEETS.items():
        if known in name:  # float32 runs as TF32, half as fast
            return Peaks(flops=flops if bf16 else flops / 2, bandwidth=bandwidth, source=f"data sheet of {known}")
    channels, batch, side = (512, 64, 28) if device.type == "cuda" else (128, 8, 28)
    convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(device, memory_format=torch.channels_last)
    x = torch.randn(batch, channels, side, side, device=device).to(memory_format=torch.channels_last)
    source = torch.zeros(2**28 if device.type == "cuda" else 2**24, device=device)
    target = torch.empty_like(source)
    with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
        convolved = _best_seconds(lambda: convolution(x), device)
        copied = _best_seconds(lambda: target.copy_(source), device)
    flops = 2 * 9 * channels * x.numel()
    return Peaks(flops=flops / convolved, bandwidth=8 * source.numel() / copied, source="measured")


def _best_seconds(run: Callable[[], object], device: torch.device) -> float:
    best = float("inf")
    for _ in range(10):
        wait(device)
        started = time.perf_counter()
        run()
        wait(device)
        best = min(best, time.perf_counter() - started)
    return best


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
