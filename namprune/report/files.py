"""The files that ship: what each network takes as a run holds it, and as it was exported, and how accurate it is."""

from collections.abc import Iterator
from dataclasses import dataclass

from namprune.report.collect import Collection
from namprune.report.summary import dense_of
from namprune.result import Accuracy, ExportFormat, Quantize, RunResult
from namprune.table import MISSING, Table, percent, points, quantity, times

CAPTION = (
    "Size: x: ratio to the float32 weights of the dense network. Difference: of a logit from torch's, the largest. "
    "Top-1: test set, int8 in onnxruntime. Δ: points against the run's own network, and against its dense ancestor."
)

TEXT_COLUMNS = 4


@dataclass(frozen=True, kw_only=True)
class ShippedFile:
    """A file of a run: its weights, or an export. What is not measured of one is None."""

    run: str
    file: str
    """Its path in the run's folder."""
    format: ExportFormat
    quantize: Quantize
    bytes: int
    ratio: float | None
    """To the float32 weights of the dense ancestor; None where there is none."""
    difference: float | None
    top1: float | None
    """A share in [0, 1]."""
    delta_run: float | None
    """Percentage points of top-1 gained over the run's own network in float32."""
    delta_dense: float | None


def shipped_files(collection: Collection) -> tuple[ShippedFile, ...]:
    """By network, from dense to pruned: its weights, then what was exported of it.

    Of the runs without an export the dense ancestors of the others alone are there.
    """
    exported = [result for result in collection.results if collection.exports.get(result.name)]
    wanted: dict[str, RunResult] = {}
    for result in sorted(exported, key=lambda run: (run.dense or run.name, -run.final.complexity.macs, run.name)):
        dense = dense_of(result, collection.known)
        wanted |= {run.name: run for run in (dense, result) if run}
    return tuple(file for result in wanted.values() for file in _files(result, collection))


def files_table(files: tuple[ShippedFile, ...]) -> Table:
    """One line per file."""
    columns = ("Run", "File", "Format", "Numbers", "Size", "Difference", "Top-1 %", "Δ run", "Δ dense")
    return Table(
        "Files",
        columns=columns,
        rows=tuple(_cells(file) for file in files),
        text_columns=TEXT_COLUMNS,
        notes=(CAPTION,),
    )


def _files(result: RunResult, collection: Collection) -> Iterator[ShippedFile]:
    size, dense = collection.sizes[result.name], dense_of(result, collection.known)
    whole = collection.sizes[(dense or result).name] if dense or result.dense is None else None
    yield ShippedFile(
        run=result.name,
        file="model.safetensors",
        format="safetensors",
        quantize="none",
        bytes=size,
        ratio=size / whole if whole and dense else None,
        difference=None,
        top1=_top1(result.final.test),
        delta_run=None,
        delta_dense=_points(result.final.test, dense),
    )
    for export in sorted(collection.exports.get(result.name, ()), key=lambda export: export.quantize != "none"):
        yield ShippedFile(
            run=result.name,
            file=f"export/{export.file}",
            format=export.format,
            quantize=export.quantize,
            bytes=export.bytes,
            ratio=export.bytes / whole if whole else None,
            difference=export.difference,
            top1=_top1(export.test),
            delta_run=_points(export.test, result),
            delta_dense=_points(export.test, dense),
        )


def _top1(measured: Accuracy | None) -> float | None:
    return measured.top1 if measured else None


def _points(measured: Accuracy | None, against: RunResult | None) -> float | None:
    """Points gained over a run's network on the same pictures."""
    if measured is None or against is None or against.final.test is None:
        return None
    return 100 * (measured.top1 - against.final.test.top1)


def _cells(file: ShippedFile) -> tuple[str, ...]:
    return (
        file.run,
        file.file,
        file.format,
        "float32" if file.quantize == "none" else file.quantize,
        quantity(file.bytes, "B") + (f" ({times(file.ratio)})" if file.ratio is not None else ""),
        MISSING if file.difference is None else f"{file.difference:.1e}",
        percent(file.top1),
        points(file.delta_run),
        points(file.delta_dense),
    )
