"""What every group of channels of a run costs in accuracy when it alone is cut; each cut measured is kept at once."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

from torch import nn

from namprune import console
from namprune.checkpoint import to_bytes
from namprune.data import Data, build_data
from namprune.device import pick_device
from namprune.errors import RunError
from namprune.measure.accuracy import EVAL_BATCH
from namprune.pruning import ChannelGraph, Ranking, Sensitivity, cut_accuracy, measure_sensitivity, needs_batches
from namprune.pruning.group import Cuts
from namprune.pruning.sensitivity import RATIOS
from namprune.recipe import Recipe
from namprune.result import record_from_json
from namprune.runs import RunFolder
from namprune.stages.network import check_batch, check_fits, open_network, placed

PICTURE = "sensitivity.png"

CALIBRATION = 8
"""Batches at most that each cut network is recalibrated on: there are many of them."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One line of a run's sensitivity.jsonl: what one cut left of the validation accuracy."""

    key: str
    """SHA-256 of all that the accuracy depends on."""
    group: str
    """The layer that names the group; none for the network as it is."""
    removed: int
    top1: float


def sensitivity(run: RunFolder, recipe: Recipe, *, ratios: Sequence[float] = RATIOS) -> Sensitivity:
    """Cut each group of a run's network to each ratio, alone, and measure; kept as its sensitivity.json and .png.

    Raises:
        RunError: the run is broken, or its folder cannot be read or written.
        DataError: the pictures are missing, or not the run's.
    """
    model, result = open_network(run, recipe)
    device = pick_device(recipe.runtime.device)
    data = build_data(recipe.data, device=device, channels_last=recipe.runtime.channels_last)
    check_fits(data, result)
    found = sensitivity_of(placed(model, recipe, device), data, recipe, run, ratios=ratios)
    run.write(run.sensitivity_curves, found.to_json())
    _draw(found, run)
    return found


def sensitivity_of(
    model: nn.Module, data: Data, recipe: Recipe, run: RunFolder, *, ratios: Sequence[float] = RATIOS
) -> Sensitivity:
    """The sensitivity of a network on its device. Cuts that `run` remembers are not measured again."""
    section, batch_size = recipe.prune, recipe.finetune.batch_size
    limit = min(section.recalibrate, CALIBRATION)
    if limit or needs_batches(section.criterion):
        check_batch(data, batch_size=batch_size, section="finetune")
    training = partial(data.train.shuffled, batch_size=batch_size, seed=recipe.seed, epoch=0)
    batches = islice(training(), section.score_batches)
    with console.status("ranking the channels"), console.watched(batches, section.score_batches, "scoring") as steps:
        ranking = Ranking.of(
            ChannelGraph(model, data.input_shape),
            data.input_shape,
            criterion=section.criterion,
            bottlenecks=section.bottlenecks,
            seed=recipe.seed,
            batches=steps,
        )
    precision, shrinks = recipe.runtime.precision, ranking.cost.shrinks
    device = next(model.parameters()).device.type
    basis = [_digest(to_bytes(model)), data.digest, batch_size, recipe.seed, limit, shrinks, precision, device]
    after = partial(
        cut_accuracy,
        model,
        shrinks=shrinks,
        validation=partial(data.val.ordered, batch_size=EVAL_BATCH),
        calibration=training,
        limit=limit,
        precision=precision,
    )
    cells = _remembered(run)

    def top1(cuts: Cuts) -> float:
        kept = {group.root: keep.tolist() for group, keep in cuts}
        key = _digest(json.dumps([*basis, kept]).encode())
        if key not in cells:
            removed = sum(group.size - len(keep) for group, keep in cuts)
            cells[key] = Cell(key=key, group=" ".join(kept), removed=removed, top1=after(cuts).top1)
            run.append(run.sensitivity, dataclasses.asdict(cells[key]))
        bar.advance(note=" ".join(kept))
        return cells[key].top1

    trials = 1 + len(ranking.scored) * len(ratios)
    console.message(f"sensitivity: {trials} trials on {len(data.val):,} pictures; {run.sensitivity} spares repetitions")
    with console.progress(trials, "sensitivity") as bar:
        return measure_sensitivity(
            ranking,
            top1=top1,
            images=len(data.val),
            criterion=section.criterion,
            recalibrated=limit,
            ratios=ratios,
        )


def _remembered(run: RunFolder) -> dict[str, Cell]:
    """What was measured before, by key. A line that was only half written is taken out of the file."""
    try:
        text = run.sensitivity.read_text(encoding="utf-8", errors="replace") if run.sensitivity.exists() else ""
    except OSError as error:
        raise RunError(
            f"cannot read {run.sensitivity}: {error.strerror or error}", hint="delete it: it can be measured again"
        ) from error
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        run.write(run.sensitivity, whole)
    cells = {}
    for line in whole.splitlines():
        try:
            cell = record_from_json(Cell, line, source=run.sensitivity.name)
        except RunError:
            continue
        cells[cell.key] = cell
    return cells


def _draw(found: Sensitivity, run: RunFolder) -> None:
    try:
        from namprune.figure import heat_map
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        console.message(f"{PICTURE} was not drawn: it needs matplotlib, pip install 'namprune[figures]'")
        return
    png = heat_map(
        [one.lost for one in found.curves],
        rows=[f"{one.root} ({one.channels})" for one in found.curves],
        columns=[f"{ratio:g}" for ratio in found.ratios],
        title=f"Sensitivity of {run.name}, channels ranked by {found.criterion}",
        across="share of the group's channels removed",
        unit="points of validation top-1 lost",
    )
    run.write(PICTURE, png)
    console.message(f"drawn: {run.path / PICTURE}")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
