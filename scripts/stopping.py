"""Work that is stopped by a real signal at any of the places where it can end: for check_resume.py."""

import inspect
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from same_run import small_recipe
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from namprune import console, signals
from namprune.models.mobilenetv2 import MobileNetV2
from namprune.models.resnet import ResNet
from namprune.recipe import Recipe, load_recipe
from namprune.result import RunResult
from namprune.runs import RunStore
from namprune.stages.prune import prune
from namprune.stages.scratch import scratch
from namprune.stages.train import train

PLACES = {
    "namprune.stages.logbook": "step",
    "namprune.measure.accuracy": "validation",
    "namprune.pruning.repair": "recalibration",
    "namprune.pruning.compensate": "cut",
    "namprune.measure.latency": "timing",
}
"""What goes on where a module asks whether a signal came."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Polls:
    """Every question of the package whether a signal came: counted, and one is sent at the n-th."""

    def __init__(self) -> None:
        self.places: list[str] = []
        self.stop_at, self.signum = 0, signal.SIGTERM
        ours = [module for name, module in sys.modules.items() if name.startswith("namprune.")]
        for question in ("poll", "asked"):
            plain = getattr(signals, question)
            for module in [module for module in ours if getattr(module, question, None) is plain]:
                setattr(module, question, partial(self._counted, plain))

    def sitting(self, work: Callable[[], object], *, stop_at: int = 0, signum: signal.Signals = signal.SIGTERM) -> bool:
        """Do the work, with the signal at the poll of this number; whether it came to its end."""
        self.places, self.stop_at, self.signum = [], stop_at, signum
        try:
            with console.quiet(), signals.graceful(silent=True):
                work()
        except signals.Interrupted:
            return False
        return True

    def _counted(self, plain: Callable[[], Any]) -> Any:
        frame = inspect.currentframe()
        assert frame is not None  # noqa: S101 - CPython has frames
        assert frame.f_back is not None  # noqa: S101
        self.places.append(PLACES.get(frame.f_back.f_globals["__name__"], "elsewhere"))
        if len(self.places) == self.stop_at:
            os.kill(os.getpid(), self.signum)
        return plain()


@dataclass(frozen=True, kw_only=True)
class Case:
    """A kind of work, what is to be stopped of it, and the run that it needs."""

    name: str
    about: str
    overrides: tuple[str, ...] = ()
    base: str = "quickstart"
    parent: str | None = None
    poison: int = 0
    """The step of the work, from 1, whose logits are no numbers."""

    def recipe(self, store: RunStore) -> Recipe:
        """That of the run to be made."""
        if self.parent is None:
            return small_recipe("train.epochs=2", *self.overrides, base=self.base)
        return load_recipe(str(store.open(self.parent).recipe), overrides=self.overrides)

    def begin(self, store: RunStore, name: str) -> RunResult:
        """Make a run, from its beginning."""
        recipe = self.recipe(store)
        if self.parent is None:
            return train(recipe, store=store, name=name)
        work = scratch if self.name == "scratch" else prune
        return work(store.open(self.parent), recipe, store=store, name=name)


SGD = ("finetune.optimizer=sgd", "finetune.momentum=0.9")
CASES = (
    Case(name="penalty", about="training under the penalty"),
    Case(name="dropout", about="training with dropout", base="mobilenetv2", overrides=(
        *("data.name=digits", "data.limit=200", "data.pad=1", "data.flip=false", "model.width=0.25"),
        *("train.epochs=2", "train.warmup=0", "finetune.epochs=1"),
    )),
    Case(name="removal", about="training that removes channels", overrides=(
        *("train.epochs=7", "train.lr=0.1", "train.momentum=0.5", "train.schedule=cosine", "sparsity.warmup=0"),
        *("sparsity.l1_gamma=0.3", "sparsity.share=0.5", "sparsity.remove_every=2"),
    )),
    Case(name="adamw", about="AdamW, each batch in two parts", overrides=(
        *("train.optimizer=adamw", "train.lr=1e-3", "train.accumulate=2"),
    )),
    Case(name="rollback", about="training that was rolled back", poison=12, overrides=(
        *("train.epochs=3", "train.nonfinite=rollback"),
    )),
    Case(name="pruned", about="one cut, recalibrated, fine-tuned", parent="penalty", overrides=(
        *("finetune.epochs=2", "prune.compensate=3", *SGD),
    )),
    Case(name="steps", about="two cuts, a teacher", parent="penalty", overrides=(
        *("prune.steps=2", "finetune.epochs=3", 'finetune.distill={"weight": 0.5}', *SGD),
    )),
    Case(name="scratch", about="the pruned shape from scratch", parent="pruned"),
)  # fmt: skip


@contextmanager
def poisoned(step: int) -> Iterator[None]:
    """Within it the logits of so many a step are no numbers, once; 0 = of none."""
    done = 0

    def spoil(module: nn.Module, _: Any, logits: Tensor) -> Tensor | None:
        nonlocal done
        if isinstance(module, ResNet | MobileNetV2) and module.training and logits.requires_grad:
            done += 1
            return logits * float("nan") if done == step else None
        return None

    # declared as if it could not replace what a module gives
    hook = register_module_forward_hook(spoil)  # type: ignore[arg-type]
    try:
        yield
    finally:
        hook.remove()
