"""What a training leaves while it goes: a line per epoch on the terminal, in metrics.jsonl and for TensorBoard."""

import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from namprune import console
from namprune.result import EpochRecord
from namprune.runs import RunFolder
from namprune.training import StepRecord


def follow(
    events: Iterable[StepRecord | EpochRecord], run: RunFolder, *, description: str, steps: int
) -> list[EpochRecord]:
    """Run a training to its end, show it and write it down. `steps` is the number of steps of all epochs."""
    from torch.utils.tensorboard import SummaryWriter

    records: list[EpochRecord] = []
    with (
        _said(run),
        console.progress(steps, description) as bar,
        SummaryWriter(run.path) as board,
    ):
        for event in events:
            if isinstance(event, StepRecord):
                bar.advance(note=_step_note(event))
                continue
            records.append(event)
            run.append(run.metrics, dataclasses.asdict(event))
            console.message(_epoch_line(event, description))
            for tag, value in _scalars(event).items():
                board.add_scalar(f"{event.phase}/{tag}", value, event.epoch)
    return records


@contextmanager
def _said(run: RunFolder) -> Iterator[None]:
    """An interruption is not silent about what it leaves."""
    try:
        yield
    except KeyboardInterrupt:
        console.warn(f"interrupted: {run.path} stays as an unfinished run; delete it, or look at its metrics")
        raise


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
