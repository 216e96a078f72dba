"""NAM's channel gate beside the published composition of it, in one process, in turns: time, bytes kept, equality.

python scripts/bench_nam.py [--quick]

Without --quick it ends with 1 where a bar of speed is missed, which are those of one CPU thread; with it, on small
shapes and without torch.compile, only where outputs or gradients differ or too much is kept for backward. Times on a
CPU are those that the process itself had it for: what else runs takes its share of the caches, but no time.
"""

import copy
import itertools
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from namprune.attention.nam import NAMChannel

SHAPES, ROUNDS = ((64, 64, 32, 32), (64, 256, 16, 16), (64, 1024, 8, 8)), 15
QUICK_SHAPES = ((8, 16, 16, 16), (8, 64, 4, 4))
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
BARS = {
    ("contiguous", "training", "ours"): 1.5,
    ("channels_last", "training", "ours"): 2.3,
    ("contiguous", "training", "ours, compiled"): 2.9,
    ("channels_last", "training", "ours, compiled"): 2.9,
    ("contiguous", "eval", "ours"): 2.4,
    ("channels_last", "eval", "ours"): 2.4,
}
"""Time of the published composition, not compiled, over that of ours: geometric means over the shapes."""
KEPT = 1.05
"""Of the input's bytes, at most so many for backward."""
TOLERANCE = {"y": 1e-6, "dx": 1e-6, "dγ": 2e-5, "dβ": 2e-5}
"""Of the largest value, between ours and the published composition in float64."""

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Published(nn.Module):
    """As in https://github.com/Christian-lyc/NAM: to (N, H, W, C) and back for the product with the weights."""

    def __init__(self, bn: nn.BatchNorm2d) -> None:
        super().__init__()
        self.bn = bn

    def forward(self, x: Tensor) -> Tensor:
        residual, out = x, self.bn(x)
        weights = self.bn.weight.detach().abs() / torch.sum(self.bn.weight.detach().abs())
        out = out.permute(0, 2, 3, 1).contiguous()
        out = torch.mul(weights, out).permute(0, 3, 1, 2).contiguous()
        return torch.sigmoid(out) * residual


def clock() -> float:
    if DEVICE.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def seconds(ways: dict[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Median of each, taken in turns."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 2):
        for name, run in ways.items():
            started = clock()
            run()
            if turn >= 2:  # the first ones compile and allocate
                taken[name].append(clock() - started)
    return {name: statistics.median(times) for name, times in taken.items()}


def step(module: nn.Module, x: Tensor, upstream: Tensor) -> Callable[[], object]:
    return lambda: torch.autograd.grad(module(x), [x, *module.parameters()], upstream)


def kept(module: nn.Module, x: Tensor) -> float:
    """Bytes kept for backward over those of `x`; views of one storage count once."""
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        y = module(x)
    return sum(storages.values()) / y.nbytes


def differences(ours: nn.Module, plain: nn.Module, x: Tensor, upstream: Tensor) -> dict[str, float]:
    """Of ours from the composition in float64, by the largest value."""
    double = copy.deepcopy(plain).double(), x.detach().double().requires_grad_(), upstream.double()
    results = [
        (y := module(inputs), *torch.autograd.grad(y, [inputs, *module.parameters()], outer))
        for module, inputs, outer in ((copy.deepcopy(ours), x, upstream), double)
    ]
    return {
        name: ((own - other).abs().max() / other.abs().max()).item()
        for name, own, other in zip(TOLERANCE, *results, strict=True)
    }


def inference(module: nn.Module, x: Tensor) -> Callable[[], object]:
    return torch.inference_mode()(lambda: module(x))


def measured(shape: tuple[int, ...], layout: str, *, quick: bool) -> tuple[dict[str, dict[str, float]], list[str]]:
    """How many times as fast as published, by phase and way, and what is wrong with ours; prints rows of the table."""
    x, upstream = (torch.randn(shape, device=DEVICE).to(memory_format=LAYOUTS[layout]) for _ in range(2))
    x.requires_grad_()
    ours = NAMChannel(shape[1]).to(DEVICE)
    nn.init.normal_(ours.gamma)
    nn.init.normal_(ours.gate.bn.bias)
    published = Published(copy.deepcopy(ours.gate.bn))
    found, bytes_kept = differences(ours, published, x, upstream), kept(ours, x)
    faults = [f"{name} differs by {found[name]:.1e}" for name, bound in TOLERANCE.items() if found[name] > bound]
    faults += [f"{bytes_kept:.2f} N kept for backward"] if bytes_kept > KEPT else []

    ways: dict[str, nn.Module] = {"published": published, "ours": ours}
    if not quick:
        torch.compiler.reset()
        ways |= {f"{name}, compiled": torch.compile(module, dynamic=False) for name, module in ways.items()}
    speedups = {}
    for phase, call in (("training", partial(step, upstream=upstream)), ("eval", inference)):
        for module in ways.values():
            module.train(phase == "training")
        times = seconds({name: call(module, x) for name, module in ways.items()}, rounds=2 if quick else ROUNDS)
        speedups[phase] = {name: times["published"] / times[name] for name in times}
        cells = [f"{1e3 * times[name]:9.2f} ({speedups[phase][name]:5.2f}x)" for name in times]
        print(
            f"{'x'.join(map(str, shape)):14} {layout:14} {phase:9}",
            *cells,
            f"{bytes_kept:5.2f} {kept(published, x):5.2f}",
        )
    return speedups, [f"{shape}, {layout}: {fault}" for fault in faults]


def element_passes(shape: tuple[int, ...], dtype: torch.dtype, layout: str) -> str:
    """How often a copy of x could have read or written an element in the time that forward and backward take."""
    x, upstream = (torch.randn(shape, device=DEVICE).to(dtype, memory_format=LAYOUTS[layout]) for _ in range(2))
    module, target = NAMChannel(shape[1]).to(DEVICE), torch.empty_like(x)
    inputs = [x.requires_grad_(), *module.parameters()]
    y = module(x)
    ways = {
        "copy": lambda: target.copy_(x.detach()),
        "forward": lambda: module(x),
        "backward": lambda: torch.autograd.grad(y, inputs, upstream, retain_graph=True),
    }
    times = seconds(ways, rounds=ROUNDS)
    one = times["copy"] / 2  # it reads and writes
    return f"{times['forward'] / one:4.1f} forward, {times['backward'] / one:4.1f} backward"


def main(*, quick: bool) -> int:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{DEVICE}, torch {torch.__version__}, 1 thread, load {os.getloadavg()[0]:.1f}; medians, in ms")
    print("(times as fast as published) of published, ours, and both compiled; inputs kept by ours and published")
    speedups: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    missed = []
    for layout in LAYOUTS:
        for shape in QUICK_SHAPES if quick else SHAPES:
            phases, faults = measured(shape, layout, quick=quick)
            missed += faults
            for phase, ways in phases.items():
                for name, speedup in ways.items():
                    speedups[layout, phase, name].append(speedup)
    if not quick:
        for (layout, phase, name), bar in BARS.items():
            mean = statistics.geometric_mean(speedups[layout, phase, name])
            print(f"{layout:14} {phase:9} {name:15} {mean:5.2f}x of at least {bar}")
            missed += [f"{layout}, {phase}, {name}: {mean:.2f}x"] if mean < bar else []
    if DEVICE.type == "cuda" and not quick:
        for shape, layout, dtype in itertools.product(SHAPES, LAYOUTS, (torch.float32, torch.bfloat16)):
            shape = (16 * shape[0], *shape[1:])  # more than its cache holds
            print(f"{shape} {layout} {dtype}: element passes {element_passes(shape, dtype, layout)}")
    print("missed: " + "; ".join(missed) if missed else "all bars met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(quick="--quick" in sys.argv[1:]))
