"""Make the runs of a comparison, and skip what is there already."""

import time
from collections.abc import Sequence

from namprune import console
from namprune.data import Data, build_data
from namprune.device import pick_device
from namprune.errors import RunError
from namprune.recipe import Recipe
from namprune.recipe.schema import PruneSection
from namprune.result import RunResult
from namprune.runs import RunFolder, RunStore
from namprune.stages.grid import Cell, at_equal_macs, control_grid, grid
from namprune.stages.network import check_batch
from namprune.stages.prune import prune
from namprune.stages.scratch import scratch
from namprune.stages.train import train


def compare(
    recipe: Recipe,
    *,
    store: RunStore,
    attentions: Sequence[str],
    cuts: Sequence[PruneSection],
    seeds: int,
    controls: bool = False,
) -> tuple[RunResult, ...]:
    """Every run of the grid, in its order; those that the store has are taken, the others are made.

    A run of the same recipe, seed, pictures and parent is taken, whatever its name. What an interruption left
    unfinished under the name of a cell is deleted and made again, and so is what hangs on it. With `controls` every
    cut goes to a share of the MACs, and what NAM's has to be better than is made, too (`stages.grid`).

    Raises:
        DataError: the pictures are missing or too few; nothing has been made.
        RunError: a finished run of other pictures or another recipe has the name of a cell; nothing has been made.
        UserError: controls without NAM, or more seeds than there are.
        PruneError: a cut cannot be made as asked; what was made before it is kept.
    """
    data = _checked_data(recipe)
    if controls:
        cuts = at_equal_macs(recipe, cuts, classes=len(data.classes), input_shape=data.input_shape)
        aims = ", ".join(dict.fromkeys(f"{cut.target_macs:g}x" for cut in cuts))
        console.message(f"controls compare at equal MACs: every cut goes to {aims}")
    make_cells = control_grid if controls else grid
    cells = make_cells(recipe, attentions=attentions, cuts=cuts, seeds=seeds)
    data_digest = data.digest
    found = _finished(cells, store, data_digest=data_digest)
    todo = [cell for cell in cells if cell.name not in found]
    for cell in todo:
        _check_name(cell, store, data_digest=data_digest)
    console.message(f"{len(cells)} runs in {store.root}, {len(found)} of them finished already")
    started, done, total = time.perf_counter(), 0, sum(cell.effort for cell in todo)
    with console.progress(total, "compare") as bar:
        for cell in todo:
            bar.advance(0, note=cell.label)
            with console.quiet():
                found[cell.name] = _make(cell, found, store)
            bar.advance(cell.effort)
            done += cell.effort
            left = (time.perf_counter() - started) * (total - done) / done
            console.message(f"[{cells.index(cell) + 1}/{len(cells)}] {_line(cell, found[cell.name], left=left)}")
    return tuple(found[cell.name] for cell in cells)


def _checked_data(recipe: Recipe) -> Data:
    """The pictures, once it is known that they are there and enough for every run."""
    data = build_data(recipe.data, device=pick_device(recipe.runtime.device))
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
        runs = [result for result in results if _is_of(cell, result, data_digest) and _hangs_on(result, parent)]
        if runs:
            # its own name first, then the eldest: the choice stays the same when more runs are made
            found[cell.name] = min(runs, key=lambda result: (result.name != cell.name, result.created))
    return found


def _is_of(cell: Cell, result: RunResult, data_digest: str) -> bool:
    made = (result.kind, result.recipe_digest, result.seed, result.data_digest)
    return made == (cell.kind, cell.digest, cell.recipe.seed, data_digest)


def _hangs_on(result: RunResult, parent: RunResult | None) -> bool:
    """Whether it was made from this very run: one that is older than its parent was made from a predecessor."""
    return parent is None or (result.parent == parent.name and result.created > parent.created)


def _check_name(cell: Cell, store: RunStore, *, data_digest: str) -> None:
    """Raise RunError where a finished run that is not of this cell has its name."""
    folder = RunFolder(store.root / cell.name)
    if folder.result_file.is_file() and not _is_of(cell, folder.result(), data_digest):
        raise RunError(
            f"run {cell.name!r} in {store.root} was made of another recipe or other pictures, or by another version",
            hint="keep this comparison in a folder of its own with --runs",
        )


def _make(cell: Cell, found: dict[str, RunResult], store: RunStore) -> RunResult:
    RunFolder(store.root / cell.name).discard()
    if cell.parent is None:
        return train(cell.recipe, store=store, name=cell.name)
    make = prune if cell.kind == "prune" else scratch
    return make(store.open(found[cell.parent].name), cell.recipe, store=store, name=cell.name)


def _line(cell: Cell, result: RunResult, *, left: float) -> str:
    line = f"{cell.label}: val {100 * result.final.val.top1:.1f} %, {_duration(result.seconds)}"
    return f"{line}, about {_duration(left)} left" if left else line


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
