"""Training during which channels are removed as the penalty brings their factors near zero (PruneTrain, Lym et al.,
2019), https://arxiv.org/abs/1901.09290: what is dead is trained no further, and epochs get cheaper."""

from collections.abc import Iterator

from torch import Tensor, nn

from namprune import console, signals
from namprune.data import Data
from namprune.pruning import ChannelGraph, dead_plan
from namprune.recipe.schema import Recipe
from namprune.stages.cutting import Planned, joined, make_cut
from namprune.stages.network import placed
from namprune.stages.speed import forward_for
from namprune.stages.work import Work
from namprune.training import Event, Training, build_training

COMPENSATED = 4
"""Batches that tell what a dead channel still delivers: a constant, so few are enough."""


class Thinning:
    """A recipe's training; the progress of the work has the cuts that were made.

    A cut puts new parameters in the place of the old, so the optimizer after it is a new one, without momentum. It is
    made as the epoch after it begins, so a state that was taken between the two comes before the cut.
    """

    def __init__(self, model: nn.Module, data: Data, recipe: Recipe, work: Work) -> None:
        self.model, self.data, self.recipe, self.work = model, data, recipe, work
        self.training = self._training(0)

    @property
    def epoch(self) -> int:
        """The present one, from 0."""
        return self.training.epoch

    @property
    def taken(self) -> int:
        """Steps that are done."""
        return self.training.epoch * self.training.steps + self.training.step

    @property
    def shown(self) -> Tensor | None:
        """As `Training.shown`."""
        return self.training.shown

    def state_dict(self) -> dict[str, Tensor]:
        """As `Training.state_dict`."""
        return self.training.state_dict()

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """As `Training.load_state_dict`."""
        self.training.load_state_dict(tensors)

    def __iter__(self) -> Iterator[Event]:
        epochs = range(self.recipe.train.epochs)
        every = self.recipe.sparsity.remove_every or len(epochs)
        for first in epochs[::every]:
            span = epochs[first : first + every]
            if self.training.epoch not in span:
                continue  # of an earlier sitting
            if first and (self.training.epoch, self.training.step) == (first, 0):
                with signals.deferred():  # half a cut is no state to save
                    self._remove_dead()
            self.training.until = span.stop
            yield from self.training

    def _training(self, first: int) -> Training:
        span = range(first, self.recipe.train.epochs)
        forward = forward_for(self.model, self.data, self.recipe, self.work, phase="train")
        return build_training(self.model, self.data, self.recipe, phase="train", span=span, forward=forward)

    def _remove_dead(self) -> None:
        shape, section, before = self.data.input_shape, self.recipe.prune, self.work.progress
        with console.status("looking for what is near zero"):
            graph = ChannelGraph(self.model, shape)
            plan = dead_plan(
                graph, shape, floor=section.floor, keep=section.keep, bottlenecks=section.bottlenecks, after=before.plan
            )
        if plan is None:
            return
        console.message(f"near zero: {plan.channels_before - plan.channels_after} of {plan.channels_before} channels")
        batch_size, seed = self.recipe.train.batch_size, self.recipe.seed
        proof = make_cut(Planned(graph, plan), self.data, batches=COMPENSATED, batch_size=batch_size, seed=seed)
        self.work.note(plan=joined(before.plan, plan), proof=max(before.proof, proof))
        placed(self.model, self.recipe, next(self.model.parameters()).device)
        old, self.training = self.training, self._training(self.training.epoch)
        self.training.lr_scale, self.training.rollbacks = old.lr_scale, old.rollbacks
