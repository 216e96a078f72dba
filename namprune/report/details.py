"""What a run's own section of the page shows, read from its folder; what cannot be read is left out with the reason."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from namprune.errors import RunError
from namprune.report.collect import Collection
from namprune.result import EpochRecord, RunResult, record_from_json
from namprune.result.reading import parse
from namprune.runs import RunFolder, RunStore

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class LayerWidth:
    """Channels of a group, which its root layer names, or of a bottleneck inside an attention."""

    layer: str
    before: int
    after: int


@dataclass(frozen=True, kw_only=True)
class SensitivityMap:
    """Points of validation accuracy that are lost when a share of one layer's channels goes, and nothing else."""

    layers: tuple[str, ...]
    ratios: tuple[float, ...]
    points: tuple[tuple[float, ...], ...]
    """By layer, then by ratio; all finite."""


@dataclass(frozen=True, kw_only=True)
class RunDetail:
    """A run beyond its result."""

    result: RunResult
    recipe: str
    """As text; empty where it cannot be read."""
    epochs: tuple[EpochRecord, ...]
    """Each once, all numbers finite."""
    widths: tuple[LayerWidth, ...]
    """None of a run that was not cut."""
    sensitivity: SensitivityMap | None
    faults: tuple[str, ...]
    """What was left out, and why."""


def details(store: RunStore, collection: Collection) -> tuple[RunDetail, ...]:
    """Of every run that is reported."""
    return tuple(_detail(RunFolder(store.root / result.name), result) for result in collection.results)


def _detail(folder: RunFolder, result: RunResult) -> RunDetail:
    faults: list[str] = []

    def read(file: Path, parsed: Callable[[str], Value], missing: Value) -> Value:
        """A file of the run, or `missing`; why, unless there is none, is one of the faults."""
        try:
            return parsed(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return missing
        except OSError as error:
            faults.append(f"{file.name} cannot be read: {error.strerror or error}")
        except (RunError, ValueError, TypeError, LookupError, OverflowError) as error:
            faults.append(f"{file.name} is not as it was written: {error}")
        return missing

    recipe = read(folder.recipe, str, "")
    no_epochs: tuple[EpochRecord, ...] = ()
    epochs = read(folder.metrics, lambda text: _epochs(text, faults), no_epochs)
    no_widths: tuple[LayerWidth, ...] = ()
    widths = read(folder.plan, _widths, no_widths)
    sensitivity = read(folder.sensitivity_curves, _sensitivity, None)
    if folder.sensitivity.exists() and not folder.sensitivity_curves.exists():
        faults.append(
            f"sensitivity: trials without a map of them; `{folder.command(f'sensitivity {folder.name}')}` makes it"
        )
    return RunDetail(
        result=result, recipe=recipe, epochs=epochs, widths=widths, sensitivity=sensitivity, faults=tuple(faults)
    )


def _epochs(text: str, faults: list[str]) -> tuple[EpochRecord, ...]:
    """What came again after an interruption or a setback counts as it was the last time."""
    found: dict[tuple[str, int], EpochRecord] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        source = f"metrics.jsonl, line {number}"
        try:
            record = record_from_json(EpochRecord, line, source=source)
        except RunError as error:
            faults.append(error.message)
            continue
        found.pop((record.phase, record.epoch), None)
        if _finite(record):
            found[record.phase, record.epoch] = record
        else:
            faults.append(f"{source}: a number is not finite")
    return tuple(sorted(found.values(), key=lambda record: (record.phase != "train", record.epoch)))


def _finite(record: EpochRecord) -> bool:
    values = [record.loss, record.accuracy, record.val.loss, record.val.top1, record.val.top5, record.lr]
    values += [record.seconds, record.images_per_second]
    if gamma := record.gamma:
        values += [gamma.mean, gamma.top_decile, gamma.bottom_decile, gamma.near_zero]
    return all(map(math.isfinite, values))


def _widths(text: str) -> tuple[LayerWidth, ...]:
    plan = parse(text, source="plan.json")
    groups = [_width(str(group["root"]), group) for group in plan["groups"]]
    bottlenecks = [_width(f"{inner['layer']} {inner['name']}", inner) for inner in plan.get("bottlenecks", ())]
    return tuple(sorted(groups + bottlenecks, key=_in_order))


def _width(layer: str, cut: dict[str, Any]) -> LayerWidth:
    return LayerWidth(layer=layer, before=int(cut["before"]), after=len(cut["kept"]))


def _in_order(width: LayerWidth) -> list[tuple[int, str]]:
    """`layer.2` before `layer.10`."""
    return [(int(word), "") if word.isdecimal() else (0, word) for word in re.split(r"(\d+)", width.layer)]


def _sensitivity(text: str) -> SensitivityMap:
    tree = parse(text, source="sensitivity.json")
    ratios = tuple(float(ratio) for ratio in tree["ratios"])
    points = tuple(tuple(float(lost) for lost in curve["lost"]) for curve in tree["curves"])
    numbers = [*ratios, *(lost for row in points for lost in row)]
    if not ratios or not points or {len(row) for row in points} != {len(ratios)}:
        raise ValueError("not one number for each layer and ratio")
    if not all(map(math.isfinite, numbers)):
        raise ValueError("a number is not finite")
    return SensitivityMap(layers=tuple(str(curve["root"]) for curve in tree["curves"]), ratios=ratios, points=points)
