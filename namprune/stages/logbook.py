"""What a training leaves while it goes: checkpoints, and a line per epoch on the terminal, in metrics.jsonl and for
TensorBoard."""

import dataclasses
from signal import Signals
from typing import TYPE_CHECKING

from namprune import console, signals
from namprune.distributed import largest, rank, wait
from namprune.result import EpochRecord
from namprune.stages.work import Source, Work
from namprune.training import Setback, StepRecord

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def follow(training: Source, work: Work, *, description: str, steps: int) -> None:
    """Run a training to its end from where the work stands, show it, write it down and save it.

    `steps` is the number of steps of all its epochs. A signal ends it after the present step, saved. Of a group the
    first process writes, and a signal to one of them ends all at the same step.
    """
    from torch.utils.tensorboard import SummaryWriter

    resumed = work.saved is not None
    work.take_up(training)
    wait()  # until all have read what the first save may drop
    if rank() > 0:
        _accompany(training)
        return
    # a line of an epoch that comes again hides the earlier one
    purge = training.epoch + 1 if resumed else None
    with (
        console.progress(steps, description) as bar,
        SummaryWriter(work.run.path, purge_step=purge) as board,
    ):
        bar.advance(training.taken)
        work.save(training)  # shows that it can, before the time is spent
        try:
            for event in training:
                if isinstance(event, StepRecord):
                    bar.advance(note=_step_note(event))
                elif isinstance(event, Setback):
                    console.warn(
                        "the loss or a gradient was no finite number: back to the start of epoch "
                        f"{event.epoch + 1}, with {event.lr_scale:g} of the learning rate"
                    )
                else:
                    _write_down(event, work, board, description=description)
                if work.due:
                    work.save(training)
                _poll()
        except signals.Interrupted:
            work.save(training)
            wait()
            raise
        work.save(training)


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


def _write_down(record: EpochRecord, work: Work, board: "SummaryWriter", *, description: str) -> None:
    known = {name for earlier in work.progress.records for name in earlier.collapsed}
    work.note(records=(*work.progress.records, record))
    work.run.append(work.run.metrics, dataclasses.asdict(record))
    console.message(_epoch_line(record, description))
    for tag, value in _scalars(record).items():
        board.add_scalar(f"{record.phase}/{tag}", value, record.epoch)
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
