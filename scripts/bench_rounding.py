"""What fewer MACs are worth in milliseconds, with widths as ranked and rounded to multiples.

python scripts/bench_rounding.py [NETWORK,...] [SHARE] [BATCH]

Each network is cut to one share of its MACs, once per multiple, and all are timed in turns in one process, in float32.
`worth` is log(speed-up) / log(MACs ratio). `slower` are convolutions of the cut network that alone take longer than
the same layer of the dense one.
"""

import math
import sys

import torch
from torch import nn

from namprune.measure import complexity, interleaved_latency
from namprune.models import MODELS, AttentionPlan
from namprune.pruning import prune_model

SHAPE, MULTIPLES, BLOCKS = (3, 32, 32), (1, 8, 16), 15


def lived_in(name: str) -> nn.Module:
    """A network whose factors differ, so that a global ranking gives uneven widths."""
    torch.manual_seed(0)
    model = MODELS[name](input_shape=SHAPE, classes=10, attention=AttentionPlan(), width=1.0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.1, 2.0)
    return model


def convolutions(model: nn.Module) -> dict[str, tuple[nn.Conv2d, tuple[int, int, int]]]:
    """Every convolution with the shape of what it is given."""
    found: dict[str, tuple[nn.Conv2d, tuple[int, int, int]]] = {}
    hooks = [
        module.register_forward_pre_hook(
            lambda module, inputs, name=name: found.update({name: (module, tuple(inputs[0].shape[1:]))})
        )
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    with torch.no_grad():
        model.eval()(torch.zeros(1, *SHAPE))
    for hook in hooks:
        hook.remove()
    return found


def slower(dense: nn.Module, cut: nn.Module, batch: int) -> list[str]:
    """Convolutions that take longer in the cut network, by more than a tenth, with how much."""
    before, after = convolutions(dense), convolutions(cut)
    found = []
    for name, (layer, shape) in after.items():
        old, old_shape = before[name]
        if layer.weight.shape == old.weight.shape:
            continue
        now = interleaved_latency({"cut": layer}, shape, batch=batch, blocks=5)["cut"].median
        then = interleaved_latency({"dense": old}, old_shape, batch=batch, blocks=5)["dense"].median
        if now > 1.1 * then:
            found.append(f"{name} {tuple(old.weight.shape[:2])}->{tuple(layer.weight.shape[:2])} {now / then:.2f}x")
    return found


def main(networks: list[str], share: float, batch: int) -> None:
    print(f"torch {torch.__version__}, {torch.get_num_threads()} thread(s), batch {batch}, median of {BLOCKS}")
    for name in networks:
        dense = lived_in(name)
        cuts = {
            f"round_to {multiple}": prune_model(
                dense, torch.zeros(1, *SHAPE), target_macs=share, criterion="bn", round_to=multiple
            ).model
            for multiple in MULTIPLES
        }
        times = interleaved_latency({"dense": dense, **cuts}, SHAPE, batch=batch, blocks=BLOCKS)
        base = complexity(dense, SHAPE).macs
        for label, cut in cuts.items():
            fewer, faster = base / complexity(cut, SHAPE).macs, times["dense"].median / times[label].median
            spread = times[label].iqr / times[label].median
            print(
                f"{name:12} {label:12} MACs {fewer:.2f}x fewer, {1e3 * times[label].median:7.1f} ms (IQR {spread:.0%}) "
                f"{faster:.2f}x faster, worth {math.log(faster) / math.log(fewer):.2f}; "
                f"slower: {', '.join(slower(dense, cut, batch)) or 'none'}",
                flush=True,
            )


if __name__ == "__main__":
    named, kept, pictures = [*sys.argv[1:], *("resnet18,mobilenetv2", "0.5", "64")[len(sys.argv) - 1 :]]
    main(named.split(","), float(kept), int(pictures))
