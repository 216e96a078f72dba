"""The one training loop, for training and fine-tuning alike.

`Training` is iterated for its events: the caller pulls steps and epochs and decides what to show and where to write,
so the loop calls nobody back, and shows a bar of a long validation alone. Between two events, `state_dict` and the
network are all that it takes to go on elsewhere to the same bits.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from namprune import distributed
from namprune.batchnorm import whole_batch
from namprune.choices import NonFinitePolicy, Precision
from namprune.data.images import Batch, Images
from namprune.device import autocast
from namprune.measure import split_accuracy
from namprune.models.weights import copy_tensors
from namprune.result import EpochRecord
from namprune.sparsity import Penalty, collapsed, gamma_spread
from namprune.training.distill import Distillation
from namprune.training.guard import FiniteGuard, NonFiniteError
from namprune.training.state import generator_tensors, load_generators, load_optimizer, optimizer_tensors

CUDA_READ_EVERY = 50
"""Steps between two reads of the running loss on a GPU, where each read waits for the device."""

MOST_SKIPPED = 10
"""Steps of an epoch that the policy `skip` leaves out; one more ends the training."""

MOST_ROLLBACKS = 2
"""Times that the policy `rollback` goes back in one training; one more ends it."""


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One step. Loss and accuracy are means over the epoch so far, NaN at steps where the device was not read."""

    epoch: int
    step: int
    steps: int
    loss: float
    accuracy: float
    images_per_second: float


@dataclass(frozen=True, kw_only=True)
class Setback:
    """A loss or gradient that was no finite number took the training back to the start of the epoch; it goes on with a
    lower learning rate."""

    epoch: int
    lr_scale: float


Event: TypeAlias = StepRecord | EpochRecord | Setback


@dataclass(eq=False, kw_only=True)
class Training:
    """A training in place: yields a StepRecord per step and an EpochRecord after each epoch.

    Each epoch seeds PyTorch's global generator from (seed, epoch), so that dropout repeats, too. The network ends in
    training mode. With `span` only these of the epochs are run, as they would be in the whole. Iterated again with a
    later `until`, it goes on as if nothing had been between.

    Raises:
        NonFiniteError: while iterating: a loss or gradient was no finite number, and the policy allows no more.
    """

    model: nn.Module
    train: Images
    val: Images
    epochs: int
    batch_size: int
    """Pictures per step, over all processes and parts."""
    optimizer: torch.optim.Optimizer
    """A fused one: the others know no step that is none."""
    lr_at: Callable[[float], float]
    """From time in epochs to learning rate."""
    penalty: Penalty
    label_smoothing: float = 0.0
    distillation: Distillation | None = None
    seed: int = 0
    precision: Precision = "auto"
    forward: Callable[[Tensor], Tensor] | None = None
    """What computes the network, where that is something faster than the network itself."""
    phase: Literal["train", "finetune"] = "train"
    span: range | None = None
    until: int = field(init=False)
    """The epoch that iterating stops before: the end of the span, until it is set to an earlier one."""
    accumulate: int = 1
    """Parts that a batch is passed through the network in, one after the other, which sum up to its gradient."""
    sync_bn: bool = True
    """Whether BatchNorms see what of a part all processes have, not only their own."""
    nonfinite: NonFinitePolicy = "stop"
    epoch: int = field(init=False)
    """The present one, from 0."""
    step: int = field(default=0, init=False)
    """How many of its steps are done."""
    seconds: float = field(default=0.0, init=False)
    """That they took."""
    shown: Tensor | None = field(default=None, init=False)
    """Up to 16 pictures of the first batch of this sitting, as the network got them."""
    lr_scale: float = field(default=1.0, init=False)
    rollbacks: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.span = range(self.epochs) if self.span is None else self.span
        self.epoch, self.until = self.span.start, self.span.stop
        self.device = next(self.model.parameters()).device
        self.steps = len(self.train) // self.batch_size
        self.sums = torch.zeros(3, device=self.device)  # loss, hits, steps that were none; over the epoch so far
        self.start: dict[str, Tensor] = {}  # of the epoch: network and state, where the policy goes back to it
        self.guard = FiniteGuard(self.model, self.optimizer)
        self.network = distributed.replicated(self.model if self.forward is None else self.forward)

    def __iter__(self) -> Iterator[Event]:
        """Go on from where it stands."""
        while self.epoch < self.until:
            if self.step == 0:
                torch.manual_seed((self.seed << 16) + self.epoch)  # for dropout, which draws from the global generator
                self.sums.zero_()
                self.seconds = 0.0
                self.start = self._kept() if self.nonfinite == "rollback" else {}
            try:
                yield from self._steps()
                record = self._epoch_record()
            except NonFiniteError:
                if not self.start or self.rollbacks == MOST_ROLLBACKS:
                    raise
                yield self._back()
                continue
            self.epoch, self.step = self.epoch + 1, 0
            yield record

    @property
    def taken(self) -> int:
        """Steps of the span that are done."""
        assert self.span is not None  # noqa: S101 - set at the start
        return (self.epoch - self.span.start) * self.steps + self.step

    def state_dict(self) -> dict[str, Tensor]:
        """All that going on takes, but for the network. Waits for the device.

        Raises:
            NonFiniteError: what has happened since the device was last read ends the training.
        """
        self._check()
        counts = {name: torch.tensor(getattr(self, name), dtype=torch.float64) for name in _COUNTS}
        return {
            **counts,
            "sums": self.sums,
            **generator_tensors(self.device),
            **optimizer_tensors(self.model, self.optimizer),
            **{f"{_START}{name}": tensor for name, tensor in self.start.items()},
        }

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from a state that `state_dict` took; the network must be as it was then."""
        for name in _COUNTS:
            setattr(self, name, type(getattr(self, name))(tensors[name].item()))
        self.sums.copy_(tensors["sums"])
        load_generators(self.device, tensors)
        load_optimizer(self.model, self.optimizer, tensors)
        self.start = _under(_START, tensors)

    def _steps(self) -> Iterator[StepRecord]:
        """The steps that are left of the epoch."""
        started = time.perf_counter() - self.seconds
        self.model.train()
        parts = self.train.shuffled(
            batch_size=self.batch_size // self.accumulate,
            seed=self.seed,
            epoch=self.epoch,
            start=self.step * self.accumulate,
            part=(distributed.rank(), distributed.size()),
        )
        for batch in zip(*[iter(parts)] * self.accumulate):  # noqa: B905 - parts of an incomplete batch are left out
            self._take(batch)
            self.step += 1
            self.seconds = time.perf_counter() - started
            yield self._step_record()

    def _take(self, batch: tuple[Batch, ...]) -> None:
        """One step down the gradient of the loss over all parts and the sub-gradient of the penalty, or none."""
        now = self._now(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = self._lr(now)
        self.optimizer.zero_grad()
        self.guard.remember()
        self.shown = batch[0][0][:16].clone() if self.shown is None else self.shown
        total = torch.zeros(2, device=self.device)  # loss, hits
        for x, y in batch[:-1]:
            with distributed.alone(self.network):
                total += self._add_gradient(x, y)
        total += self._add_gradient(*batch[-1])
        total = distributed.summed(total) / (self.accumulate * distributed.size())
        bad = self.guard.check(total[0])
        self.penalty.add_gradient(now / self.epochs)
        self.optimizer.step()
        self.sums += torch.cat([torch.where(bad > 0, 0.0, total), bad[None]])

    def _add_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        """Add the gradient of a part; its mean loss, blended with what a teacher says, and accuracy, float32 (2,)."""
        with autocast(self.precision, self.device):
            with whole_batch(self.sync_bn):
                logits = self.network(x).float()  # (N, classes)
            loss = F.cross_entropy(logits, y, label_smoothing=self.label_smoothing)
            if self.distillation is not None:
                loss = self.distillation.blended(loss, logits, x)
        (loss / self.accumulate).backward()  # type: ignore[no-untyped-call]
        labels = y if y.ndim == 1 else y.argmax(1)  # of mixed pictures, what most of each is
        return torch.stack([loss.detach(), (logits.argmax(1) == labels).float().mean()])

    def _now(self, step: int) -> float:
        """Time in epochs in the middle of a step."""
        return self.epoch + (step + 0.5) / self.steps

    def _lr(self, now: float) -> float:
        return self.lr_scale * self.lr_at(now)

    def _check(self) -> tuple[float, float, int]:
        """Mean loss, mean accuracy and the number of steps that were none so far. Waits for the device."""
        loss, hits, skipped = self.sums.tolist()
        if skipped > (MOST_SKIPPED if self.nonfinite == "skip" else 0):
            raise self._nonfinite(f"step {self.step} of {self.steps}")
        counted = self.step - int(skipped)
        return (loss / counted, hits / counted, int(skipped)) if counted else (math.nan, math.nan, int(skipped))

    def _nonfinite(self, place: str) -> NonFiniteError:
        return NonFiniteError(
            f"{self.phase}: the loss or a gradient was no finite number in epoch {self.epoch + 1}, by {place}",
            hint=f"lower {self.phase}.lr, raise {self.phase}.warmup, or see {self.phase}.nonfinite",
        )

    def _step_record(self) -> StepRecord:
        """Means so far where the device may be read now, else NaN."""
        readable = self.device.type == "cpu" or self.step == self.steps or self.step % CUDA_READ_EVERY == 0
        loss, hits, _ = self._check() if readable else (math.nan, math.nan, 0)
        speed = self.step * self.batch_size / self.seconds
        return StepRecord(
            epoch=self.epoch, step=self.step - 1, steps=self.steps, loss=loss, accuracy=hits, images_per_second=speed
        )

    def _epoch_record(self) -> EpochRecord:
        loss, hits, skipped = self._check()
        if math.isnan(loss):
            raise self._nonfinite("every step")
        distributed.take_buffers(self.model)
        val = split_accuracy(self.model, self.val, "validation", precision=self.precision, shared=True)
        if not math.isfinite(val.loss):
            raise self._nonfinite("the validation")
        return EpochRecord(
            phase=self.phase,
            epoch=self.epoch + 1,
            epochs=self.epochs,
            loss=loss,
            accuracy=hits,
            val=val,
            lr=self._lr(self._now(self.steps - 1)),
            seconds=self.seconds,
            images_per_second=self.steps * self.batch_size / self.seconds,
            gamma=gamma_spread(self.penalty.gammas),
            skipped=skipped,
            collapsed=collapsed(self.model),
        )

    def _kept(self) -> dict[str, Tensor]:
        """A copy of the network and of the state."""
        self.start = {}
        network = {f"{_NETWORK}{name}": tensor for name, tensor in self.model.state_dict().items()}
        return {name: tensor.clone() for name, tensor in (network | self.state_dict()).items()}

    def _back(self) -> Setback:
        """Take up the start of the epoch with half of the learning rate."""
        lr_scale, rollbacks = self.lr_scale / 2, self.rollbacks + 1
        copy_tensors(self.model, _under(_NETWORK, self.start))
        self.load_state_dict(self.start)
        self.lr_scale, self.rollbacks = lr_scale, rollbacks
        return Setback(epoch=self.epoch, lr_scale=lr_scale)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


_COUNTS = ("epoch", "step", "seconds", "lr_scale", "rollbacks")
"""What of a `Training` is a plain number."""

_START, _NETWORK = "start.", "network."
"""What stands before the names of the tensors that a rollback goes back to, and of those of them in the network."""
