"""Make the runs of a comparison, and skip what is there already."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial

import torch

from namprune import console
from namprune.choices import BackendName
from namprune.data import Data, build_data
from namprune.device import pick_device
from namprune.errors import NampruneError, RunError, UserError
from namprune.recipe import Recipe, dump_recipe
from namprune.result import RunResult
from namprune.runs import RunFolder, RunStore
from namprune.stages.comparison import Comparison, begin
from namprune.stages.grid import Cell, at_equal_macs, control_grid, grid
from namprune.stages.jobs import Backend, Job, one_by_one
from namprune.stages.network import check_batch
from namprune.table import duration

NAMED = 10
"""Missing runs that are named."""


def compare(
    asked: Comparison, *, store: RunStore, backend: BackendName = "local", address: str | None = None
) -> tuple[RunResult, ...]:
    """Every run of the grid, in its order; those that the store has are taken, the others are made.

    A run of the same recipe, seed, pictures and parent is taken, whatever its name. What an interruption left
    unfinished under the name of a cell is gone on with, if it was begun alike, or else made anew, and then what hangs
    on it, too. With `controls` every cut goes to a share of the MACs, and what NAM's has to be better than is made, too
    (`stages.grid`). What was asked for is kept in the store once it is known that it can be begun. With the backend
    `ray` the runs are made as `stages.cluster` says, at `address`.

    Raises:
        DataError: the pictures are missing or too few; nothing has been made.
        RunError: a finished run of other pictures or another recipe has the name of a cell; nothing has been made.
            Or another process is at work on a cell.
        UserError: controls without NAM, or more seeds than there are, or no such backend here; nothing has been made.
        PruneError: a cut cannot be made as asked; what was made before it is kept.
    """
    run_jobs = _backend(backend, address)
    recipe, cuts = asked.recipe, asked.cuts or (asked.recipe.prune,)
    if backend == "local":
        pick_device(recipe.runtime.device)  # refuses one that is not here; a cluster may have it
    data = _checked_data(recipe)
    if asked.controls:
        with console.status("planning the cuts"):
            cuts = at_equal_macs(recipe, cuts, classes=len(data.classes), input_shape=data.input_shape)
        aims = ", ".join(dict.fromkeys(f"{cut.target_macs:g}x" for cut in cuts))
        console.message(f"controls compare at equal MACs: every cut goes to {aims}")
    make_cells = control_grid if asked.controls else grid
    cells = make_cells(recipe, attentions=asked.attentions, cuts=cuts, seeds=asked.seeds)
    data_digest = data.digest
    found = _finished(cells, store, data_digest=data_digest)
    for cell in cells:
        if cell.name not in found:
            _check_name(cell, store, data_digest=data_digest)
    begin(asked, store)
    console.message(f"{len(cells)} runs in {store.root}, {len(found)} of them finished already")
    try:
        _make(cells, found, store, run_jobs)
    except (NampruneError, KeyboardInterrupt):
        console.warn(_missing([cell for cell in cells if cell.name not in found], of=len(cells)))
        raise
    return tuple(found[cell.name] for cell in cells)


def _backend(name: BackendName, address: str | None) -> Backend:
    if name == "local":
        if address is not None:
            raise UserError("compare: an address is that of a Ray cluster", hint="add --backend ray")
        return one_by_one
    try:
        from namprune.stages.cluster import on_ray
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ray":
            raise
        raise UserError(
            "compare: ray is not installed, which the backend needs", hint="pip install 'namprune[ray]'"
        ) from error
    return partial(on_ray, address=address)


def _make(cells: Sequence[Cell], found: dict[str, RunResult], store: RunStore, run_jobs: Backend) -> None:
    """Put the run of each cell that has none into `found`, as it is finished."""
    todo = {cell.name: cell for cell in cells if cell.name not in found}
    jobs = [_job(cell, found) for cell in todo.values()]
    started, done, total = time.perf_counter(), 0, sum(cell.effort for cell in todo.values())
    with console.progress(total, "compare") as bar, closing(run_jobs(jobs, store.root)) as results:
        while todo:
            bar.advance(0, note=next(iter(todo.values())).label)
            result = next(results)
            cell = todo.pop(result.name)
            found[cell.name] = result
            bar.advance(cell.effort)
            done += cell.effort
            left = (time.perf_counter() - started) * (total - done) / done
            console.message(f"[{cells.index(cell) + 1}/{len(cells)}] {_line(cell, result, left=left)}")


def _job(cell: Cell, found: Mapping[str, RunResult]) -> Job:
    parent = found[cell.parent].name if cell.parent and cell.parent in found else cell.parent
    recipe = dump_recipe(cell.recipe)
    return Job(name=cell.name, kind=cell.kind, recipe=recipe, device=cell.recipe.runtime.device, parent=parent)


def _checked_data(recipe: Recipe) -> Data:
    """The pictures, once it is known that they are there and enough for every run; on the CPU, to be only counted."""
    data = build_data(recipe.data, device=torch.device("cpu"))
    check_batch(data, batch_size=recipe.train.batch_size, section="train")
    check_batch(data, batch_size=recipe.finetune.batch_size, section="finetune")
    return data


def _finished(cells: Sequence[Cell], store: RunStore, *, data_digest: str) -> dict[str, RunResult]:
    """The finished run of each cell that has one, by the cell's name."""
    results = [folder.result() for folder in store.folders() if folder.state() == "finished"]
    found: dict[str, RunResult] = {}
    for cell in cells:
        if cell.parent is not None and cell.parent not in found:
            continue
        parent = found[cell.parent] if cell.parent else None
        runs = [result for result in results if _is_of(cell, result, data_digest) and _hangs_on(result, parent, store)]
        if runs:
            # its own name first, then the eldest: the choice stays the same when more runs are made
            found[cell.name] = min(runs, key=lambda result: (result.name != cell.name, result.created))
    return found


def _is_of(cell: Cell, result: RunResult, data_digest: str) -> bool:
    made = (result.kind, result.recipe_digest, result.seed, result.data_digest)
    return made == (cell.kind, cell.digest, cell.recipe.seed, data_digest)


def _hangs_on(result: RunResult, parent: RunResult | None, store: RunStore) -> bool:
    """Whether it was made from these very weights, not from those of a predecessor of the parent's name."""
    if parent is None or result.parent != parent.name:
        return parent is None
    folder = RunFolder(store.root / result.name)
    start = folder.begun_as()
    if start is None:  # of an earlier version
        return result.created > parent.created
    return start.parent_weights == parent.files[folder.weights.name]


def _check_name(cell: Cell, store: RunStore, *, data_digest: str) -> None:
    """Raise RunError where a finished run that is not of this cell has its name."""
    folder = RunFolder(store.root / cell.name)
    if folder.result_file.is_file() and not _is_of(cell, folder.result(), data_digest):
        raise RunError(
            f"run {cell.name!r} in {store.root} was made of another recipe or other pictures, or by another version",
            hint="keep this comparison in a folder of its own with --runs",
        )


def _missing(cells: Sequence[Cell], *, of: int) -> str:
    more = f" and {len(cells) - NAMED} more" if len(cells) > NAMED else ""
    return f"{len(cells)} of {of} runs are missing: {', '.join(cell.label for cell in cells[:NAMED])}{more}"


def _line(cell: Cell, result: RunResult, *, left: float) -> str:
    line = f"{cell.label}: val {100 * result.final.val.top1:.1f} %, {duration(result.seconds)}"
    return f"{line}, about {duration(left)} left" if left else line
