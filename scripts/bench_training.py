"""Pictures per second in training: our loop beside a plain one and the roofline, in one process, in turns.

python scripts/bench_training.py [--device cuda] [--data FOLDER_WITH_CIFAR10] [--out rows.jsonl] [--quick]

ours      `build_training` by the shipped recipe, with the defaults of the device; `--compile auto` takes the fastest
          of eager, torch.compile and CUDA graphs, and is the default on CUDA
plain     in the style of the published NAM script, see scripts/plain_training.py
roofline  what the device allows at most, see scripts/roofline.py
input     the input path alone: ours beside PIL and the DataLoader without workers, one thread each

Exits with 1 where a bar is missed. On a CPU: input at least 8x, ours not slower than plain. On CUDA: the rates in
`BARS`, 200 epochs of ResNet-50 with NAM in 9.5 minutes, and no step of ours that waits for the device.
"""

import argparse
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from plain_training import PILImages, plain_steps, published
from roofline import peaks_of, wait, work_of
from torch import nn
from torch.utils.data import DataLoader

from namprune.data.cifar import CIFAR10
from namprune.data.images import Data
from namprune.data.parquet import find_parquet, read_parquet
from namprune.data.resident import Pictures, resident_data
from namprune.device import describe_environment, deterministic, pick_device
from namprune.models import build_model
from namprune.recipe import Recipe, load_recipe
from namprune.training import StepRecord, build_training
from namprune.training.trial import fastest_forward

SHAPE, CLASSES = (3, 32, 32), 10
BARS = {("resnet18", "none"): 60_000, ("resnet50", "nam"): 18_000, ("mobilenetv2", "nam"): 45_000}
"""Pictures per second on CUDA."""
MINUTES, EPOCHS, EPOCH_IMAGES = 9.5, 200, 50_000
"""What a whole training of ResNet-50 with NAM may take on CUDA."""
INPUT_BAR = 8
SYNC_STEPS = 40
INPUT_IMAGES, INPUT_BATCH = 2_000, 128


def read_pictures(folder: str | None, count: int) -> Pictures:
    """CIFAR-10's training pictures, or noise of their shape."""
    if folder is not None:
        files = find_parquet(Path(folder), "train")
        return read_parquet(files, label=CIFAR10.label, classes=CIFAR10.classes, limit=count)[0]
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 32, 32, 3), dtype=torch.uint8, generator=generator)
    return Pictures(pixels=pixels, labels=torch.randint(CLASSES, (count,), generator=generator))


def as_data(pictures: Pictures, device: torch.device) -> Data:
    """Our data set of these training pictures; validation, which is not timed, is short."""
    few = pictures.take(torch.arange(16))
    names = {"label": CIFAR10.title, "classes": CIFAR10.classes, "mean": CIFAR10.mean, "std": CIFAR10.std}
    return resident_data(train=pictures, val=few, test=few, pad=4, flip=True, device=device, **names)


def our_steps(model: nn.Module, data: Data, recipe: Recipe, compiled: str) -> tuple[Iterator[bool], str]:
    """After each step whether it was its epoch's last, and no more than that after the validation; and which way the
    network is computed."""
    training, told = build_training(model, data, recipe, phase="train"), {"true": "compile"}.get(compiled, "eager")
    if compiled == "auto":
        device = next(model.parameters()).device
        batches = list(data.train.shuffled(batch_size=recipe.train.batch_size, seed=0, epoch=0))[:4]
        trial = fastest_forward(model, batches, precision=recipe.runtime.precision, device=device)
        training, told = replace(training, forward=trial.forward), str(trial)
    events = (event.step + 1 == event.steps if isinstance(event, StepRecord) else False for event in training)
    return events, told


def epoch_seconds(steps: Iterator[bool], device: torch.device) -> float:
    """Of the steps of an epoch, on the device as well; what follows the last one is not timed."""
    started = time.perf_counter()
    while not next(steps):
        pass
    wait(device)
    seconds = time.perf_counter() - started
    next(steps)
    return seconds


def host_syncs(steps: Iterator[bool], count: int) -> float:
    """How often a step waits for the CUDA device, on average; the first ones of an epoch, which prepare it, apart."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            next(steps)
        torch.cuda.set_sync_debug_mode("warn")
        for _ in range(count):
            next(steps)
        torch.cuda.set_sync_debug_mode("default")
    return sum("called a synchronizing" in str(one.message) for one in caught) / count


def input_row(pictures: Pictures, rounds: int) -> dict:
    """Batches of each way, on one thread, in turns."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train = as_data(pictures, torch.device("cpu")).train
    loader = DataLoader(PILImages(pictures), batch_size=INPUT_BATCH, shuffle=True, drop_last=True)
    rates: dict[str, list[float]] = {"ours": [], "plain": []}
    for turn in range(rounds + 1):
        for way, taken in rates.items():
            started = time.perf_counter()
            batches = train.shuffled(batch_size=INPUT_BATCH, seed=0, epoch=turn) if way == "ours" else loader
            taken.append(sum(len(y) for _, y in batches) / (time.perf_counter() - started))
    torch.set_num_threads(threads)
    ours, plain = (statistics.median(taken[1:]) for taken in rates.values())
    return {"row": "input", "images_per_second": ours, "plain": plain, "ratio": ours / plain, "batch": INPUT_BATCH}


def network_rows(spec: str, pictures: Pictures, args: argparse.Namespace, device: torch.device) -> Iterator[dict]:
    """Ours, plain and roofline of one network, `resnet50+nam` or `resnet18`."""
    name, _, attention = spec.partition("+")
    attention = attention or args.attention
    compiled = "true" if args.compile == "true" else "false"  # `auto` is tried in `our_steps`
    settings = {"model.name": name, "attention.name": attention, "train.batch_size": args.batch, "train.lr": 0.01}
    settings |= {"train.epochs": args.rounds + 2, "runtime.precision": args.precision, "runtime.compile": compiled}
    recipe = load_recipe("resnet20", overrides=[f"{key}={value}" for key, value in settings.items()])
    model = build_model(recipe, classes=CLASSES, input_shape=SHAPE).to(device)
    loader = DataLoader(
        PILImages(pictures),
        batch_size=args.batch,
        shuffle=True,
        drop_last=True,
        num_workers=args.workers,
        persistent_workers=args.workers > 0,
        pin_memory=device.type == "cuda",
    )
    plain = plain_steps(published(model), loader, device)
    model = model.to(memory_format=torch.channels_last)
    bf16 = args.precision == "bf16" or (args.precision == "auto" and device.type == "cuda")
    work, peaks = work_of(model, SHAPE, bf16=bf16), peaks_of(device, bf16=bf16)
    ours, told = our_steps(model, as_data(pictures, device), recipe, args.compile)
    steps = {"ours": ours, "plain": plain}
    rates: dict[str, list[float]] = {way: [] for way in steps}
    for _ in range(args.rounds + 1):  # the first is warm-up
        for way, one in steps.items():
            rates[way].append(len(loader) * args.batch / epoch_seconds(one, device))
    medians = {way: statistics.median(taken[1:]) for way, taken in rates.items()}
    network = {"model": name, "attention": attention, "batch": args.batch}
    for way, one in steps.items():
        row = {"row": way, **network, "images_per_second": medians[way], "rounds": rates[way][1:]}
        if device.type == "cuda":
            row["host_syncs_per_step"] = host_syncs(one, min(SYNC_STEPS, len(loader) - 3))
        if way == "ours":
            ratio = statistics.median(a / b for a, b in zip(rates["ours"][1:], rates["plain"][1:], strict=True))
            row |= {"ratio": ratio, "bf16": bf16, "compile": told}
        yield row
    bounds = {"compute": peaks.flops / work.flops, "memory": peaks.bandwidth / work.bytes}
    row = {"row": "roofline", **network, "images_per_second": min(bounds.values()), "bounds": bounds}
    yield row | {"peaks": vars(peaks), "work": vars(work), "reached": medians["ours"] / min(bounds.values())}


def missed(row: dict, device: torch.device) -> list[str]:
    """The bars that a row does not reach."""
    faults, rate = [], row["images_per_second"]
    if row["row"] == "input" and row["ratio"] < INPUT_BAR:
        faults.append(f"input path: {row['ratio']:.1f}x the DataLoader, the bar is {INPUT_BAR}x")
    if row["row"] != "ours":
        return faults
    name = f"{row['model']}+{row['attention']}"
    if device.type != "cuda":
        return [f"{name}: {row['ratio']:.2f}x the plain loop, the bar is 1x"] if row["ratio"] < 1 else []
    bar = BARS.get((row["model"], row["attention"]), 0)
    if rate < bar:
        faults.append(f"{name}: {rate:,.0f} pictures/s, the bar is {bar:,}")
    if row["host_syncs_per_step"]:
        faults.append(f"{name}: {row['host_syncs_per_step']:.2f} waits for the device per step, the bar is none")
    minutes = EPOCHS * EPOCH_IMAGES / rate / 60
    if (row["model"], row["attention"]) == ("resnet50", "nam") and minutes > MINUTES:
        faults.append(f"{name}: {EPOCHS} epochs would take {minutes:.1f} minutes, the bar is {MINUTES}")
    return faults


def line(row: dict) -> str:
    """A row of the table."""
    notes = {"ratio": "{:.2f}x the plain one", "reached": "reached by {:.0%}", "host_syncs_per_step": "{:.2f} waits"}
    words = [text.format(row[key]) for key, text in notes.items() if key in row]
    words += [row["compile"]] if "compile" in row else []
    network = f"{row['model']}+{row['attention']}" if "model" in row else ""
    return f"{network:18} {row['row']:9} {row['images_per_second']:12,.0f}  {', '.join(words)}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--model", help="names with commas between, each with +ATTENTION or the one of --attention")
    parser.add_argument("--attention", default="none")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--images", type=int, help="pictures per epoch, of which there is one per round")
    parser.add_argument("--rounds", type=int)
    parser.add_argument(
        "--workers", type=int, default=min(4, os.cpu_count() or 1), help="of the plain loop's DataLoader"
    )
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--compile", choices=("auto", "true", "false"))
    parser.add_argument("--data", metavar="FOLDER", help="CIFAR-10 as parquet files; noise where it is not given")
    parser.add_argument("--out", type=Path, help="JSON lines, a row as it is measured")
    parser.add_argument("--quick", action="store_true", help="a small network and few steps, for a CPU")
    args = parser.parse_args()
    cuda = pick_device(args.device).type == "cuda"
    if cuda:
        usual = ("resnet18,resnet50+nam,mobilenetv2+nam", 1024, 50_000, 5, "auto")
    elif args.quick:
        usual = ("resnet20+nam", 32, 128, 3, "false")
    else:
        usual = ("resnet20+nam,mobilenetv2+nam", 64, 256, 5, "false")
    for key, value in zip(("model", "batch", "images", "rounds", "compile"), usual, strict=True):
        if getattr(args, key) is None:
            setattr(args, key, value)
    return args


def main() -> int:
    args = arguments()
    device = pick_device(args.device)
    machine = describe_environment(device)
    print(f"{machine.device}, {machine.threads} threads, torch {torch.__version__}, batch {args.batch}")
    print(f"{'network':18} {'row':9} {'pictures/s':>12}  median of {args.rounds}")
    faults: list[str] = []

    def rows() -> Iterator[dict]:
        if device.type == "cpu":
            yield input_row(read_pictures(args.data, INPUT_IMAGES), args.rounds)
        pictures = read_pictures(args.data, args.images)
        for spec in args.model.split(","):
            yield from network_rows(spec, pictures, args, device)

    with deterministic(False):
        for row in rows():
            print(line(row), flush=True)
            faults += missed(row, device)
            if args.out is not None:
                record = {**row, "machine": machine.device, "threads": machine.threads, "torch": torch.__version__}
                with args.out.open("a") as file:
                    file.write(json.dumps(record | {"at": datetime.now(UTC).isoformat(timespec="seconds")}) + "\n")
    for fault in faults:
        print(f"missed: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
