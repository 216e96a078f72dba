"""Cuts networks of torchvision and timm, and prints what becomes of each as a Markdown table.

python scripts/check_models.py [NAME...] [--small] [--out docs/models.md]

Each cut is a process of its own with a limit of time. Every weight, factor and statistic is drawn at random; what
starts as zero (gates, last layers) is drawn, too, so that the proof sees all layers. After the cut a training step must
reach every parameter, and the file of the network must come back bit for bit through its shapes alone.
"""

import argparse
import collections
import dataclasses
import datetime
import json
import platform
import re
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_leaves

from namprune.checkpoint import narrow, tensors_from_bytes, to_bytes
from namprune.errors import NampruneError
from namprune.measure import complexity
from namprune.models.weights import copy_tensors
from namprune.pruning import prune_model

SECONDS, BYTES = 60, 4e9
RATIOS = (0.3, 0.5)
SIDES = (64, 224)
LEAST_SIDE = {"inception_v3": 96, "vit_b_16": 224, "swin_t": 224, "maxvit_t": 224}
"""Where 64 pixels are too few, or another size than 224 is refused."""

SMALL = (
    *("resnet18", "mobilenet_v3_small", "efficientnet_b0", "regnet_y_400mf", "shufflenet_v2_x1_0", "mnasnet1_0"),
    *("squeezenet1_1", "googlenet", "densenet121", "backbone:lraspp_mobilenet_v3_large", "timm:mobilenetv3_small_100"),
)
"""Fast ones of every kind."""

NETWORKS = (
    *("resnet18", "resnet34", "resnet50", "wide_resnet50_2", "resnext50_32x4d", "regnet_x_400mf", "regnet_y_400mf"),
    *("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "mnasnet1_0", "efficientnet_b0"),
    *("efficientnet_v2_s", "shufflenet_v2_x1_0", "squeezenet1_1", "densenet121", "googlenet", "inception_v3"),
    *("vgg16_bn", "alexnet", "convnext_tiny", "vit_b_16", "swin_t", "maxvit_t"),
    *("timm:resnet50d", "timm:efficientnet_lite0", "timm:mobilenetv3_small_100", "timm:regnety_002"),
    *("timm:ghostnet_100", "timm:hrnet_w18_small", "timm:convnextv2_atto"),
    *("backbone:ssdlite320_mobilenet_v3_large", "backbone:lraspp_mobilenet_v3_large", "lraspp_mobilenet_v3_large"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """What became of one network."""

    macs: tuple[int, int]
    params: tuple[int, int]
    channels: tuple[int, int]
    seconds: float
    """Graph, plan, proof and cut."""
    proof: float
    left: dict[str, int]
    """Why layers keep their channels, and how many do; without those of the outputs."""
    faults: tuple[str, ...]
    """What does not hold after the cut."""
    peak: int
    """Bytes of memory that the process had at most."""


def build(name: str) -> nn.Module:
    """A network without weights of anyone's."""
    source, _, rest = name.rpartition(":")
    if source == "timm":
        import timm

        return timm.create_model(rest, pretrained=False, num_classes=100)
    from torchvision import models

    if rest.startswith(("ssdlite", "lraspp")):
        whole = models.get_model(rest, weights=None, weights_backbone=None)
        return whole.backbone if source == "backbone" else whole
    extra = {"aux_logits": False, "init_weights": False} if rest in ("googlenet", "inception_v3") else {}
    return models.get_model(rest, weights=None, num_classes=100, **extra)


@torch.no_grad()
def live_in(model: nn.Module, pictures: Tensor) -> None:
    """Draw what starts as zero, one or nearly so, and let the statistics be those of the network's own features."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for parameter in model.parameters():
        if parameter.abs().max() < 1e-4:
            parameter.normal_(std=0.1)
    for norm in norms:
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.normal_(std=0.2)
        norm.momentum = 1.0
    model.train()(pictures)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


def outputs(model: nn.Module, pictures: Tensor) -> list[Tensor]:
    """All tensors that a network returns."""
    return [leaf for leaf in tree_leaves(model(pictures)) if isinstance(leaf, Tensor)]


def faults_of(name: str, model: nn.Module, pictures: Tensor) -> list[str]:
    """What does not hold of a cut network: it trains, and comes back from its file."""
    found = []
    data = to_bytes(model)
    tensors = tensors_from_bytes(data)
    again = build(name)
    narrow(again, {key: tuple(tensor.shape) for key, tensor in tensors.items()})
    copy_tensors(again, tensors)
    with torch.inference_mode():
        pairs = zip(outputs(model.eval(), pictures), outputs(again.eval(), pictures), strict=True)
        if not all(torch.equal(one, other) for one, other in pairs):
            found.append("another network comes back from its file")
    sum(output.float().square().mean() for output in outputs(model.train(), pictures)).backward()
    for key, parameter in model.named_parameters():
        if parameter.grad is None or not parameter.grad.isfinite().all():
            found.append(f"a training step gives {key} no gradient")
            break
    return found


def check(name: str, side: int, ratio: float) -> Row:
    """Cut one network; PruneError where it is refused."""
    torch.manual_seed(0)
    shape = (3, side, side)
    model, pictures = build(name), torch.randn(2, *shape)
    live_in(model, pictures)
    before = complexity(model, shape)
    started = time.perf_counter()
    pruned = prune_model(model, pictures, ratio=ratio, criterion="l1")
    seconds = time.perf_counter() - started
    after = complexity(pruned.model, shape)
    why = (re.sub(r"\S*\w\.\w\S*(?<!,)", "…", reason) for reason in pruned.plan.skipped.values())
    faults = faults_of(name, pruned.model, pictures)
    if after.macs != pruned.plan.macs_after:
        faults.append(f"{after.macs} MACs are left, {pruned.plan.macs_after} were foretold")
    return Row(
        macs=(before.macs, after.macs),
        params=(before.params, after.params),
        channels=(pruned.plan.channels_before, pruned.plan.channels_after),
        seconds=seconds,
        proof=pruned.proof,
        left=dict(collections.Counter(reason for reason in why if "the network's output" not in reason)),
        faults=tuple(faults),
        peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,  # Linux counts in KiB
    )


def apart(name: str, side: int, ratio: float) -> Row | str:
    """The same in a process of its own; a line where it is refused, fails or does not end."""
    command = [sys.executable, "-W", "ignore", __file__, name, "--cell", str(side), str(ratio)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5 * SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        return f"FAULT: no end within {5 * SECONDS} s"
    last = [*done.stdout.splitlines(), ""][0] if done.returncode == 0 else ""
    if last.startswith("{"):
        return Row(**json.loads(last))
    return last or f"FAULT: {[*done.stderr.splitlines(), 'exit ' + str(done.returncode)][-1]}"


def line(name: str, side: int, ratio: float, row: Row | str) -> str:
    """One row of the table."""
    start = f"| {name} | {side} | {ratio:g} |"
    if isinstance(row, str):
        return f"{start} | | | | | | {row} |"
    slow = row.seconds > SECONDS or row.peak > BYTES
    notes = [f"FAULT: {fault}" for fault in row.faults] + ["FAULT: over the limits"] * slow
    notes += [f"{reason} ({count})" for reason, count in row.left.items()]
    macs, params = (f"{a / 1e6:,.1f} → {b / 1e6:,.1f} ({b / a:.0%})" for a, b in (row.macs, row.params))
    return (
        f"{start} {macs} | {params} | {row.channels[1] / row.channels[0]:.0%} | {row.seconds:.1f} | "
        f"{row.peak / 1e9:.1f} | {row.proof:.0e} | {'; '.join(notes)} |"
    )


def table(names: Sequence[str], sides: Sequence[int], ratios: Sequence[float]) -> list[str]:
    """All rows, printed as they come."""
    head = (
        "| network | pixels | ratio | MACs, M | parameters, M | channels | s | GB | proof | left alone |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    )
    print(*head, sep="\n")
    lines = [*head]
    for name in names:
        for side in sorted({max(side, LEAST_SIDE.get(name, 0)) for side in sides}):
            for ratio in ratios:
                lines.append(line(name, side, ratio, apart(name, side, ratio)))
                print(lines[-1], flush=True)
    return lines


def main() -> int:
    """Print the table; 1 if something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--small", action="store_true", help="the fast ones at 64 pixels and 0.5")
    parser.add_argument("--out", type=Path, help="write the table into this file")
    parser.add_argument("--cell", nargs=2, metavar=("SIDE", "RATIO"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        warnings.simplefilter("ignore")
        try:
            row = check(options.names[0], int(options.cell[0]), float(options.cell[1]))
            print(json.dumps(dataclasses.asdict(row)))
        except NampruneError as error:
            print(f"refused: {error}")
        return 0
    names = options.names or (SMALL if options.small else NETWORKS)
    lines = table(names, SIDES[:1] if options.small else SIDES, RATIOS[1:] if options.small else RATIOS)
    if options.out:
        options.out.write_text("\n".join([*_preface(), *lines]) + "\n", encoding="utf-8")
    return int(any("FAULT" in one for one in lines))


def _preface() -> list[str]:
    from importlib.metadata import version

    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "timm"))
    return [
        "# Networks through the knife",
        "",
        f"Made by `python scripts/check_models.py --out docs/models.md` on {datetime.date.today()} with {packages} on "
        f"{platform.machine()}, threads: {torch.get_num_threads()}.",
        "",
        "Weights at random (BatchNorm factors and statistics, gates and last layers, too), criterion `l1`, global. "
        "`ratio` is the share of the channels of all groups that was to go, `channels` the share that is left; MACs "
        "and parameters are before → after; s are the seconds for graph, plan, proof and cut; GB is what the process "
        "had at most, with two copies of the network in float32 and one in float64.",
        "",
        "`proof` is the largest difference between the outputs of the cut network and those of the uncut one with the "
        "same channels at zero, in float64, over the largest output. After each cut a training step reached every "
        "parameter, and the file of the network came back bit for bit.",
        "",
        "Left alone, beside the outputs: why groups of channels stay whole, and how many do.",
        "",
    ]


if __name__ == "__main__":
    sys.exit(main())
