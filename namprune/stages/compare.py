"""Train and prune a grid of attention x ratio x criterion x seed from one recipe, and skip what is there already."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from namprune import console
from namprune.data import build_data
from namprune.device import pick_device
from namprune.errors import RunError, UserError
from namprune.recipe import Recipe, recipe_digest
from namprune.recipe.variant import with_attention
from namprune.result import RunResult
from namprune.runs import RunFolder, RunStore
from namprune.stages.network import check_batch
from namprune.stages.prune import prune
from namprune.stages.train import train

MAX_SEED = 2**31 - 1
"""The largest seed of a recipe."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of the grid; `parent` is the name of the dense cell that it is cut from, `effort` grows with its time."""

    name: str
    label: str
    recipe: Recipe
    parent: str | None
    effort: int

    @property
    def digest(self) -> str:
        """Of the recipe, without its seed."""
        return recipe_digest(self.recipe, kind="prune" if self.parent else "train")


def compare(
    recipe: Recipe,
    *,
    store: RunStore,
    attentions: Sequence[str],
    ratios: Sequence[float],
    criteria: Sequence[str],
    seeds: int,
) -> tuple[RunResult, ...]:
    """Every run of the grid, in its order; those that the store has are taken, the others are made.

    A run of the same recipe, seed, pictures and parent is taken, whatever its name. What an interruption left
    unfinished under the name of a cell is deleted and made again, and so is what hangs on it.

    Raises:
        DataError: the pictures are missing or too few; nothing has been made.
        RunError: a finished run of other pictures or another recipe has the name of a cell; nothing has been made.
        PruneError: a ratio cannot be cut; what was made before it is kept.
    """
    cells = grid(recipe, attentions=attentions, ratios=ratios, criteria=criteria, seeds=seeds)
    data_digest = _checked_data(recipe)
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


def grid(
    recipe: Recipe, *, attentions: Sequence[str], ratios: Sequence[float], criteria: Sequence[str], seeds: int
) -> tuple[Cell, ...]:
    """The runs in the order they are made: seed by seed, so that an early look compares all attentions.

    Raises:
        UserError: the last seed is more than a recipe may have.
    """
    if recipe.seed + seeds - 1 > MAX_SEED:
        raise UserError(
            f"{seeds} seeds from {recipe.seed} on: the largest is {MAX_SEED}", hint="lower the recipe's seed"
        )
    cells = []
    for seed in range(recipe.seed, recipe.seed + seeds):
        for attention in attentions:
            dense = _dense(with_attention(recipe, attention).model_copy(update={"seed": seed}))
            cells += [dense, *(_pruned(dense, ratio, criterion) for ratio in ratios for criterion in criteria)]
    return tuple(cells)


def _dense(recipe: Recipe) -> Cell:
    attention = recipe.attention.name
    return Cell(
        name=f"{recipe.model.name}-{attention}-{recipe_digest(recipe, kind='train')[:8]}-s{recipe.seed}",
        label=f"{attention} seed {recipe.seed} trained",
        recipe=recipe,
        parent=None,
        effort=recipe.train.epochs + 1,  # the measurements take about as long as an epoch
    )


def _pruned(dense: Cell, ratio: float, criterion: str) -> Cell:
    recipe, attention = dense.recipe, dense.recipe.attention.name
    section = recipe.prune.model_copy(update={"ratio": ratio, "criterion": criterion})
    return Cell(
        name=f"{dense.name}-p{100 * ratio:g}-{criterion}",
        label=f"{attention} seed {recipe.seed} pruned {ratio:g} {criterion}",
        recipe=recipe.model_copy(update={"prune": section}),
        parent=dense.name,
        effort=recipe.finetune.epochs + 1,
    )


def _checked_data(recipe: Recipe) -> str:
    """Digest of the pictures, once it is known that they are there and enough for every run."""
    data = build_data(recipe.data, device=pick_device(recipe.runtime.device))
    check_batch(data, batch_size=recipe.train.batch_size, section="train")
    check_batch(data, batch_size=recipe.finetune.batch_size, section="finetune")
    return data.digest


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
    made = (result.recipe_digest, result.seed, result.data_digest)
    return made == (cell.digest, cell.recipe.seed, data_digest)


def _hangs_on(result: RunResult, parent: RunResult | None) -> bool:
    """Whether it was cut from this very run: one that is older than its parent was cut from a predecessor."""
    if parent is None:
        return result.kind == "train"
    return result.kind == "prune" and result.parent == parent.name and result.created > parent.created


def _check_name(cell: Cell, store: RunStore, *, data_digest: str) -> None:
    """Raise RunError where a finished run that is not of this cell has its name."""
    folder = RunFolder(store.root / cell.name)
    if folder.result_file.is_file() and not _is_of(cell, folder.result(), data_digest):
        raise RunError(
            f"run {cell.name!r} in {store.root} was made of another recipe or other pictures",
            hint="keep this comparison in a folder of its own with --runs",
        )


def _make(cell: Cell, found: dict[str, RunResult], store: RunStore) -> RunResult:
    RunFolder(store.root / cell.name).discard()
    if cell.parent is None:
        return train(cell.recipe, store=store, name=cell.name)
    return prune(store.open(found[cell.parent].name), cell.recipe, store=store, name=cell.name)


def _line(cell: Cell, result: RunResult, *, left: float) -> str:
    line = f"{cell.label}: val {100 * result.final.val.top1:.1f} %, {_duration(result.seconds)}"
    return f"{line}, about {_duration(left)} left" if left else line


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"
