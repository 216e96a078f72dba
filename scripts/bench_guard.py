"""What it costs to keep losses and gradients that are no finite numbers out of a network.

python scripts/bench_guard.py [STEPS]

ResNet-20, pictures of 32x32 pixels that are there already, one thread; steps with the guard and without it
in turns. `calls` is what the two calls of the guard take, as a share of a step: the difference itself is within the
noise of a busy machine.
"""

import statistics
import sys
import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from namprune.models import MODELS, AttentionPlan
from namprune.optim import build_optimizer
from namprune.training.guard import FiniteGuard

SHAPE, BATCHES = (3, 32, 32), (32, 128)


def step(
    model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, guard: FiniteGuard | None
) -> tuple[float, float]:
    """Seconds of a step, and of the guard in it."""
    began = time.perf_counter()
    optimizer.zero_grad()
    started = time.perf_counter()
    if guard is not None:
        guard.remember()
    taken = time.perf_counter() - started
    loss = F.cross_entropy(model(x), y)
    loss.backward()  # type: ignore[no-untyped-call]
    started = time.perf_counter()
    if guard is not None:
        guard.check(loss.detach())
    taken += time.perf_counter() - started
    optimizer.step()
    return time.perf_counter() - began, taken


def main(steps: int) -> None:
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, median of {steps} steps each\n\n| batch | without | with | ratio | calls |")
    print("|---:|---:|---:|---:|---:|")
    for batch in BATCHES:
        torch.manual_seed(0)
        model = MODELS["resnet20"](input_shape=SHAPE, classes=10, attention=AttentionPlan(), width=1.0)
        model = model.to(memory_format=torch.channels_last)
        optimizer = build_optimizer(model, name="sgd", lr=1e-3, momentum=0.9, nesterov=False, weight_decay=0.0)
        guard = FiniteGuard(model, optimizer)
        x, y = torch.randn(batch, *SHAPE).to(memory_format=torch.channels_last), torch.randint(10, (batch,))
        taken: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
        for number in range(2 * steps + 4):
            on = bool(number % 2)
            one = step(model, optimizer, x, y, guard if on else None)
            if number >= 4:
                taken[on].append(one)
        plain, guarded = (statistics.median(whole for whole, _ in taken[on]) for on in (False, True))
        calls = statistics.median(own / whole for whole, own in taken[True])
        print(f"| {batch} | {1e3 * plain:.1f} ms | {1e3 * guarded:.1f} ms | {guarded / plain:.3f} | {calls:.1%} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
