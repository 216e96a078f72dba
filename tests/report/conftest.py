"""A report of runs whose names do what they can to be more than text."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

import pytest

from namprune.report import Report
from namprune.report.collect import Collection, Flawed
from namprune.report.details import LayerWidth, RunDetail, SensitivityMap
from namprune.report.tradeoff import Plane, planes
from namprune.result import Accuracy, EpochRecord, Export, GammaSpread, Latency, RunResult, Timing

IMAGE = "<img/src=x/onerror=alert(1)>"
SCRIPT = "</script><script>alert(2)</script>"
BOLD = "<b>x</b>"
BRACES = "{{7*7}}"
FORMULA = "=cmd()"
ENTITY = "&lt;i&gt;%{x}"
HOSTILE = (IMAGE, SCRIPT, BOLD, BRACES, FORMULA, ENTITY)

WEIGHTS = sha256(b"weights").hexdigest()


@dataclass(frozen=True)
class Reported:
    """What the page is made of."""

    report: Report
    planes: tuple[Plane, ...]
    details: tuple[RunDetail, ...]


def _epochs(phase: str, count: int) -> list[EpochRecord]:
    return [
        EpochRecord(
            phase=phase,
            epoch=epoch,
            epochs=count,
            loss=2 / epoch,
            accuracy=0.5,
            val=Accuracy(top1=0.6 + epoch / 100, top5=0.9, loss=1.5 / epoch, images=100),
            lr=0.1,
            seconds=1.0,
            images_per_second=10.0,
            gamma=GammaSpread(mean=0.5 / epoch, top_decile=0.9, bottom_decile=0.1, near_zero=epoch / 10),
        )
        for epoch in range(1, count + 1)
    ]


def _detail(result: RunResult) -> RunDetail:
    cut = result.cut is not None
    return RunDetail(
        result=result,
        recipe=f"seed: {result.seed}\n# {SCRIPT}\n",
        epochs=tuple(_epochs("train", 3) + (_epochs("finetune", 2) if cut else [])),
        widths=tuple(LayerWidth(layer=layer, before=16, after=9) for layer in ("stem", *HOSTILE)) if cut else (),
        sensitivity=SensitivityMap(
            layers=("stem", IMAGE), ratios=(0.1, 0.5, 0.9), points=((0.0, 1.5, 40.0), (-0.7, 0.2, 3.0))
        ),
        faults=(f"metrics.jsonl: {BOLD}",),
    )


@pytest.fixture(scope="session")
def reported(make_result: Callable[..., RunResult], make_pruned: Callable[..., RunResult]) -> Reported:
    """Three seeds of NAM and of no attention, dense and cut, and one run of each hostile attention."""
    results = []
    runs = [(attention, seed) for attention in ("nam (channel, block)", "none") for seed in range(3)]
    for place, (attention, seed) in enumerate([*runs, *((name, 0) for name in HOSTILE)]):
        name = f"dense-{attention.split()[0]}-s{seed}"
        common = {"attention": attention, "data": BRACES + BOLD, "files": {"model.safetensors": WEIGHTS}}
        timing = Latency(batch=64, median=0.01 + place / 1000, iqr=0.002, blocks=9)
        latency = (Timing(network=timing, dense=None),)
        top1 = 0.9 + seed / 100 + place / 1000
        dense = make_result(name, top1=top1, seed=seed, macs=(40 + place) * 10**6, latency=latency, **common)
        pruned = make_pruned(f"cut-{name}", parent=dense, top1=top1 - 0.05, macs=(20 + place) * 10**6, **common)
        skipped = {IMAGE: f"it is {BOLD}"}
        results += [dense, dataclasses.replace(pruned, cut=dataclasses.replace(pruned.cut, skipped=skipped))]
    export = Export(
        file=f"{IMAGE}.onnx",
        format="onnx",
        quantize="none",
        bytes=900,
        sha256="",
        difference=1e-6,
        val=None,
        test=None,
        weights=WEIGHTS,
        created="2026-01-01T00:00:00+00:00",
        versions={},
    )
    collection = Collection(
        results=tuple(results),
        flawed=(Flawed(name=IMAGE, state="unfinished", reason=f"run {SCRIPT} is unfinished"),),
        known={result.name: result for result in results},
        sizes={result.name: 1000 for result in results},
        exports={results[1].name: (export,)},
    )
    report = Report.of(collection)
    return Reported(report, planes(report.rows), tuple(map(_detail, results)))
