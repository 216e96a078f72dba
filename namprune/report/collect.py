"""Reads the results of the runs. What cannot be read is kept with the reason, never dropped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from namprune.errors import RunError
from namprune.result import Export, RunResult
from namprune.runs import RunFolder, RunStore, State


@dataclass(frozen=True, kw_only=True)
class Flawed:
    """A run without a number to report."""

    name: str
    state: State
    reason: str


@dataclass(frozen=True, kw_only=True)
class Collection:
    """The runs asked for, and all that can be read, where a run finds its ancestors."""

    results: tuple[RunResult, ...]
    flawed: tuple[Flawed, ...]
    known: Mapping[str, RunResult]
    sizes: Mapping[str, int]
    """Bytes of the file of weights, of all that can be read."""
    exports: Mapping[str, tuple[Export, ...]]
    """Of the runs asked for, what was exported of each, if anything."""


def collect(store: RunStore, *, names: Sequence[str] | None = None) -> Collection:
    """The named runs, or all.

    Raises:
        RunError: a name that no run has, or nothing to report at all.
    """
    folders = store.folders()
    if not folders:
        raise RunError(f"no runs in {store.root}", hint="`namprune train --recipe quickstart` makes one")
    known, flawed, sizes, exports = {}, [], {}, {}
    for folder in folders:
        read = _read(folder)
        if isinstance(read, Flawed):
            flawed.append(read)
        else:
            known[folder.name] = read
            sizes[folder.name] = folder.weights.stat().st_size
            exports[folder.name] = folder.exports()
    there = {folder.name for folder in folders}
    for name in names or ():
        if name not in there:
            store.open(name)  # says what is wrong with the name, and which are near
    wanted = set(names) if names else there
    return Collection(
        results=tuple(result for name, result in known.items() if name in wanted),
        flawed=tuple(run for run in flawed if run.name in wanted),
        known=known,
        sizes=sizes,
        exports={name: found for name, found in exports.items() if found and name in wanted},
    )


def _read(folder: RunFolder) -> RunResult | Flawed:
    try:
        result = folder.result()
    except RunError as error:
        return Flawed(name=folder.name, state=folder.state(), reason=f"{error.message}; {error.hint}")
    if result.final.test is None:
        return Flawed(name=folder.name, state="broken", reason=f"run {folder.name!r} has no test accuracy")
    return result
