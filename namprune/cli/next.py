"""The next useful command after each, ready to be copied."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from namprune import console
from namprune.cli.options import RUNS
from namprune.errors import RunError
from namprune.result import RunResult
from namprune.runs import RunFolder, RunStore


def suggest(*words: str, runs: Path = RUNS) -> None:
    """Say the next command, on stderr; with --runs where the runs are elsewhere."""
    where = () if runs == RUNS else ("--runs", str(runs))
    console.message(f"next: {shlex.join(('namprune', *words, *where))}")


def suggest_for(run: RunFolder, *, store: RunStore) -> None:
    """What has not been done yet with a finished run: to prune it, export it, measure the file; or else to compare."""
    suggest(*_step(run, store), runs=store.root)


def suggest_again(*, without: str) -> None:
    """The command that has just been given, in earnest."""
    if without in sys.argv:
        suggest(*(word for word in sys.argv[1:] if word != without))


def suggest_for_newest(store: RunStore) -> None:
    """The same for the run that was finished last, or a first run where none was begun."""
    newest = max(_results(store), key=lambda result: result.created, default=None)
    if newest is not None:
        suggest_for(store.open(newest.name), store=store)
    elif not store.folders():
        suggest("train", "--recipe", "quickstart", runs=store.root)


def _step(run: RunFolder, store: RunStore) -> tuple[str, ...]:
    result = run.result()
    if result.kind == "train" and all(other.parent != run.name for other in _results(store)):
        return "prune", run.name
    if result.kind == "prune" and find_spec("onnxscript") is not None:
        exported = any(export.format == "onnx" for export in run.exports())
        return ("bench", run.name, "--backend", "onnxruntime") if exported else ("export", run.name)
    return ("report",)


def _results(store: RunStore) -> Iterator[RunResult]:
    """Of the finished runs."""
    for folder in store.folders():
        with suppress(RunError):
            yield folder.result()
