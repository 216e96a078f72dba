"""The one training loop, for training and fine-tuning alike.

`training_events` is a generator: the caller pulls steps and epochs and decides what to show and where to write, so
the loop itself prints nothing and calls nobody back. `fit` drains it.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from namprune.choices import Precision
from namprune.data.images import Batch, Images
from namprune.device import autocast
from namprune.errors import UserError
from namprune.measure import accuracy
from namprune.result import EpochRecord
from namprune.sparsity import Penalty, gamma_spread
from namprune.training.distill import Distillation

EVAL_BATCH = 512
CUDA_READ_EVERY = 50
"""Steps between two reads of the running loss on a GPU, where each read waits for the device."""


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One step. Loss and accuracy are means over the epoch so far, NaN at steps where the device was not read."""

    epoch: int
    step: int
    steps: int
    loss: float
    accuracy: float
    images_per_second: float


def training_events(
    model: nn.Module,
    train: Images,
    val: Images,
    *,
    epochs: int,
    batch_size: int,
    optimizer: torch.optim.Optimizer,
    lr_at: Callable[[float], float],
    penalty: Penalty,
    label_smoothing: float = 0.0,
    distillation: Distillation | None = None,
    seed: int = 0,
    precision: Precision = "auto",
    compile_model: bool = False,
    phase: Literal["train", "finetune"] = "train",
    span: range | None = None,
) -> Iterator[StepRecord | EpochRecord]:
    """Train in place; yields a StepRecord per step and an EpochRecord after each epoch.

    Each epoch seeds PyTorch's global generator from (seed, epoch), so that dropout repeats, too.

    `lr_at` maps the time in epochs to the learning rate. The network ends in training mode.

    With `span` only these of the epochs are run, as they would be in the whole: spans that follow each other, with one
    optimizer, give the same bits as one training.

    Raises:
        UserError: the loss stopped being a finite number.
    """
    steps = len(train) // batch_size
    forward = torch.compile(model) if compile_model else model
    for epoch in range(epochs) if span is None else span:
        started, lr = time.perf_counter(), 0.0
        model.train()
        torch.manual_seed((seed << 16) + epoch)  # for dropout, which draws from the global generator
        sums = torch.zeros(2, device=next(model.parameters()).device)  # loss, hits
        for step, batch in enumerate(train.shuffled(batch_size=batch_size, seed=seed, epoch=epoch)):
            now = epoch + (step + 0.5) / steps
            lr = lr_at(now)
            with autocast(precision, sums.device):
                loss, hits = _losses(forward, batch, label_smoothing=label_smoothing, distillation=distillation)
            _update(optimizer, loss, lr=lr, penalty=penalty, progress=now / epochs)
            sums += torch.stack([loss.detach(), hits])
            yield _step_record(sums, epoch=epoch, step=step, steps=steps, started=started, batch_size=batch_size)
        seconds = time.perf_counter() - started
        mean_loss, mean_accuracy = _means(sums / steps, phase=phase, epoch=epoch)
        yield EpochRecord(
            phase=phase,
            epoch=epoch + 1,
            epochs=epochs,
            loss=mean_loss,
            accuracy=mean_accuracy,
            val=accuracy(model, val.ordered(batch_size=EVAL_BATCH), precision=precision),
            lr=lr,
            seconds=seconds,
            images_per_second=steps * batch_size / seconds,
            gamma=gamma_spread(penalty.gammas),
        )


def _losses(
    forward: Callable[[Tensor], Tensor], batch: Batch, *, label_smoothing: float, distillation: Distillation | None
) -> tuple[Tensor, Tensor]:
    """Cross-entropy, blended with what a teacher says, in float32, and accuracy of a batch."""
    x, y = batch
    logits = forward(x).float()  # (N, classes)
    loss = F.cross_entropy(logits, y, label_smoothing=label_smoothing)
    if distillation is not None:
        loss = distillation.blended(loss, logits, x)
    return loss, (logits.argmax(1) == y).float().mean()


def _update(optimizer: torch.optim.Optimizer, loss: Tensor, *, lr: float, penalty: Penalty, progress: float) -> None:
    """One step down the gradient of the loss and the sub-gradient of the penalty."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    penalty.add_gradient(progress)
    optimizer.step()


def _means(means: Tensor, *, phase: str, epoch: int) -> tuple[float, float]:
    """Loss and accuracy of an epoch; UserError where the loss is none."""
    loss, accurate = means.tolist()
    if not math.isfinite(loss):
        raise UserError(
            f"{phase}: the loss is {loss} in epoch {epoch + 1}", hint=f"lower {phase}.lr, or raise {phase}.warmup"
        )
    return loss, accurate


def _step_record(sums: Tensor, *, epoch: int, step: int, steps: int, started: float, batch_size: int) -> StepRecord:
    """Means so far where the device may be read now, else NaN."""
    done = step + 1
    readable = sums.device.type == "cpu" or done == steps or done % CUDA_READ_EVERY == 0
    loss, hits = (sums / done).tolist() if readable else (math.nan, math.nan)
    speed = done * batch_size / (time.perf_counter() - started)
    return StepRecord(epoch=epoch, step=step, steps=steps, loss=loss, accuracy=hits, images_per_second=speed)
