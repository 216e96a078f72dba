"""What a training leaves while it goes: checkpoints, a line per epoch on the terminal and in metrics.jsonl, and what
trackers are told of it and of the finished run."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from signal import Signals
from typing import Any

import torch
from torch import nn

from namprune import console, signals
from namprune.data.picture import normalizer
from namprune.distributed import largest, rank, wait
from namprune.recipe import Recipe
from namprune.result import EpochRecord, RunResult
from namprune.sparsity import scale_factors
from namprune.stages.work import Source, Work
from namprune.tracking import Setting, Tracker
from namprune.training import Setback, StepRecord


def follow(training: Source, work: Work, recipe: Recipe, *, description: str, steps: int) -> None:
    """Run a training to its end from where the work stands, show it, write it down and save it.

    `steps` is the number of steps of all its epochs. A signal ends it after the present step, saved. Of a group the
    first process writes, and a signal to one of them ends all at the same step.
    """
    work.take_up(training)
    wait()  # until all have read what the first save may drop
    if rank() > 0:
        _accompany(training)
        return
    with console.progress(steps, description) as bar:
        bar.advance(training.taken)
        work.save(training)  # shows that it can, before the time is spent
        try:
            for event in training:
                if isinstance(event, StepRecord):
                    bar.advance(note=_step_note(event))
                    if training.taken == 1 and not work.progress.records:
                        _show(training, recipe, work.tracker)
                elif isinstance(event, Setback):
                    console.warn(
                        "the loss or a gradient was no finite number: back to the start of epoch "
                        f"{event.epoch + 1}, with {event.lr_scale:g} of the learning rate"
                    )
                else:
                    _write_down(event, work, training.model, description=description)
                if work.due:
                    work.save(training)
                _poll()
        except signals.Interrupted:
            work.save(training)
            wait()
            raise
        work.save(training)


def finish(result: RunResult, recipe: Recipe, work: Work) -> RunResult:
    """Make the record of a run whose work is done its result, and tell the trackers."""
    finished = work.run.finish(result)
    said = recipe.model_dump(mode="json", exclude={"runtime": True, "data": {"root", "download"}})
    work.tracker.outcome(dict(_settings(said)), _outcome(finished))
    return finished


def _accompany(training: Source) -> None:
    """Train, and leave the rest to the first process."""
    try:
        for _ in training:
            _poll()
    except signals.Interrupted:
        wait()  # for what it saves: the end of one process ends all
        raise


def _poll() -> None:
    """Raise Interrupted in all processes where one was sent a signal."""
    if signum := largest(signals.asked() or 0):
        raise signals.Interrupted(Signals(signum))


def _write_down(record: EpochRecord, work: Work, model: nn.Module, *, description: str) -> None:
    known = {name for earlier in work.progress.records for name in earlier.collapsed}
    work.note(records=(*work.progress.records, record))
    work.run.append(work.run.metrics, dataclasses.asdict(record))
    console.message(_epoch_line(record, description))
    scalars = {f"{record.phase}/{name}": value for name, value in _scalars(record).items()}
    work.tracker.scalars(scalars, step=record.epoch)
    _tell_factors(model, work.tracker, step=record.epoch)
    if record.skipped:
        console.warn(f"{record.skipped} steps were left out: the loss or a gradient was no finite number")
    if fallen := sorted({*record.collapsed} - known):
        console.warn(
            f"collapsed: every γ of {', '.join(fallen)} is near zero; see sparsity.l1_gamma and sparsity.warmup"
        )


def _step_note(step: StepRecord) -> str:
    if step.loss != step.loss:  # NaN: the device was not read at this step
        return ""
    return f"loss {step.loss:.3f}  acc {step.accuracy:.1%}  {step.images_per_second:,.0f} img/s"


def _epoch_line(record: EpochRecord, description: str) -> str:
    line = (
        f"{description} {record.epoch}/{record.epochs}  loss {record.loss:.4f}  acc {record.accuracy:.2%}  "
        f"val {record.val.top1:.2%}  lr {record.lr:.4g}  {record.images_per_second:,.0f} img/s"
    )
    if (gamma := record.gamma) is None:
        return line
    return (
        f"{line}  |γ| {gamma.mean:.3f} ({gamma.bottom_decile:.3f} to {gamma.top_decile:.3f}, "
        f"{gamma.near_zero:.0%} near zero)"
    )


def _scalars(record: EpochRecord) -> dict[str, float]:
    scalars = {
        "loss": record.loss,
        "accuracy": record.accuracy,
        "val_loss": record.val.loss,
        "val_top1": record.val.top1,
        "lr": record.lr,
        "images_per_second": record.images_per_second,
    }
    if record.gamma is not None:
        scalars |= {
            "gamma/mean": record.gamma.mean,
            "gamma/top_decile": record.gamma.top_decile,
            "gamma/bottom_decile": record.gamma.bottom_decile,
            "gamma/near_zero": record.gamma.near_zero,
        }
    return scalars


def _show(training: Source, recipe: Recipe, tracker: Tracker) -> None:
    """Pictures of the first batch in their colours, as they were augmented."""
    if training.shown is not None:
        pixels = normalizer(recipe.data.name, device=training.shown.device).pixels(training.shown)
        tracker.pictures("first_batch", pixels.cpu(), step=0)


@torch.no_grad()
def _tell_factors(model: nn.Module, tracker: Tracker, *, step: int) -> None:
    """Distribution of |γ| and |λ| of every layer. Reads from the device once."""
    factors = list(scale_factors(model))
    if not factors:
        return
    magnitudes = torch.cat([factor.parameter.detach().abs().float().flatten() for factor in factors]).cpu()
    parts = torch.split(magnitudes, [factor.parameter.numel() for factor in factors])
    for factor, magnitude in zip(factors, parts, strict=True):
        tracker.histogram(f"{factor.kind}/{factor.name}", magnitude, step=step)


def _settings(tree: Mapping[str, Any]) -> Iterator[tuple[str, Setting]]:
    """Every key that is set, as `train.lr`; lists and `prune.ratios`, whose keys are anyone's, as JSON."""
    for name, section in tree.items():
        keys = (
            {f"{name}.{key}": value for key, value in section.items()} if isinstance(section, dict) else {name: section}
        )
        for path, value in keys.items():
            if value is not None:
                yield path, json.dumps(value) if isinstance(value, list | dict) else value


def _outcome(result: RunResult) -> dict[str, float]:
    final = result.final
    outcome = {
        "final/val_top1": final.val.top1,
        "final/macs": float(final.complexity.macs),
        "final/params": float(final.complexity.params),
        "final/bytes": float(final.complexity.bytes),
        "final/seconds": result.seconds,
    }
    if final.test is not None:
        outcome["final/test_top1"] = final.test.top1
    return outcome | {f"final/latency_ms_b{t.network.batch}": 1000 * t.network.median for t in result.latency}
