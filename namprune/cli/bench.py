"""namprune bench: what the networks of runs take where they are run, beside their dense ancestors."""

import dataclasses
from importlib.util import find_spec
from typing import Annotated

import typer

from namprune import console
from namprune.cli import complete
from namprune.cli.next import suggest
from namprune.cli.options import RUNS, AsJson, Device, Runs
from namprune.cli.overrides import resolve
from namprune.errors import UserError
from namprune.result.bench import Bench, Benched, Runtime
from namprune.runs import RunStore
from namprune.table import Table, quantity, times

NOTE = (
    "Networks in turns in one process. Latency: median of one forward pass; ~ marks an inter-quartile range (IQR) of "
    "more than 10 % of it. Memory: the most that weights, activations and workspace took, beside the libraries. "
    "x: ratio to the float32 network of the dense ancestor."
)


def bench_command(
    names: Annotated[
        list[str], typer.Argument(metavar="RUN", autocompletion=complete.run_names, help="Names of the runs.")
    ],
    *,
    backend: Annotated[
        Runtime,
        typer.Option(metavar="NAME", help="torch (eager) or onnxruntime (what was exported)."),
    ] = "torch",
    batch: Annotated[str, typer.Option(metavar="N,...", help="Pictures in one forward pass.")] = "1,64",
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Of the CPU, else PyTorch's own choice.")
    ] = None,
    device: Device = None,
    runs: Runs = RUNS,
    as_json: AsJson = False,
) -> None:
    """Measure latency, memory and size of runs and their ancestors."""
    batches = _batches(batch)
    if backend == "onnxruntime" and device not in (None, "auto", "cpu"):
        raise UserError(f"bench: --backend {backend} runs on the CPU, not on {device}", hint="leave --device out")
    store = RunStore(runs)
    folders = [store.open(name) for name in names]
    recipes = {folder: resolve(str(folder.recipe), sets=None, options={"--device": device}) for folder in folders}
    from namprune.stages.bench import bench

    found = bench(recipes, store=store, runtime=backend, batches=batches, threads=threads)
    if as_json:
        console.print_json(dataclasses.asdict(found))
    else:
        console.show(_table(found))
        if backend == "torch" and find_spec("onnxruntime") is not None:
            suggest("bench", *names, "--backend", "onnxruntime", runs=runs)
        else:
            suggest("report", runs=runs)


def _batches(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")]
    if wrong := [word for word in words if not (word.isascii() and word.isdigit() and 0 < int(word) <= 65536)]:
        raise UserError(
            f"bench: --batch {text}: {wrong[0]!r} is no number of pictures", hint="give whole numbers such as 1,64"
        )
    return tuple(dict.fromkeys(map(int, words)))


def _table(found: Bench) -> Table:
    columns = (
        "Run",
        "File",
        "Batch",
        "MACs",
        "Latency",
        "MACs x",
        "Latency x",
        "IQR %",
        "Pictures/s",
        "Memory",
        "Size",
    )
    here = found.environment
    return Table(
        f"{found.runtime} {here.versions[found.runtime]} on {here.device}, threads: {here.threads}",
        columns=columns,
        rows=tuple(map(_cells, found.networks)),
        text_columns=2,
        notes=(NOTE,),
    )


def _cells(row: Benched) -> tuple[str, ...]:
    latency = row.latency
    return (
        row.run,
        row.file or "(not exported)",
        str(latency.batch),
        quantity(row.macs),
        ("~" if row.noisy else "") + quantity(latency.median, "s"),
        times(row.macs_ratio),
        times(row.latency_ratio),
        f"{100 * latency.iqr / latency.median:.1f}",
        quantity(row.pictures_per_second),
        quantity(row.memory, "B"),
        quantity(row.bytes, "B") + (f" ({times(row.bytes_ratio)})" if row.bytes_ratio is not None else ""),
    )
