"""Training during which channels are removed as the penalty brings their factors near zero (PruneTrain, Lym et al.,
2019), https://arxiv.org/abs/1901.09290: what is dead is trained no further, and epochs get cheaper."""

from collections.abc import Iterator

from torch import nn

from namprune import console
from namprune.data import Data
from namprune.pruning import ChannelGraph, PruningPlan, dead_plan
from namprune.recipe.schema import Recipe
from namprune.result import Cut, EpochRecord
from namprune.stages.cutting import Planned, cut_record, joined, make_cut
from namprune.stages.network import placed
from namprune.training import StepRecord, build_training, optimizer_of

COMPENSATED = 4
"""Batches that tell what a dead channel still delivers: a constant, so few are enough."""


class Thinning:
    """A recipe's training as events, and the cuts that were made once they have been drained.

    A cut puts new parameters in the place of the old, so the optimizer after it is a new one, without momentum.
    """

    def __init__(self, model: nn.Module, data: Data, recipe: Recipe) -> None:
        self.model, self.data, self.recipe = model, data, recipe
        self.plan: PruningPlan | None = None
        """All cuts so far as one; None while there are none."""
        self.proof = 0.0
        """The largest."""

    @property
    def cut(self) -> Cut | None:
        """What a run's result says of it."""
        return cut_record(self.plan, self.proof, every=self.recipe.sparsity.remove_every) if self.plan else None

    def __iter__(self) -> Iterator[StepRecord | EpochRecord]:
        epochs = range(self.recipe.train.epochs)
        every = self.recipe.sparsity.remove_every or len(epochs)
        optimizer = optimizer_of(self.model, self.recipe, phase="train")
        for first in epochs[::every]:
            if first and self._remove_dead():
                optimizer = optimizer_of(self.model, self.recipe, phase="train")
            span = epochs[first : first + every]
            yield from build_training(self.model, self.data, self.recipe, phase="train", span=span, optimizer=optimizer)

    def _remove_dead(self) -> bool:
        """Whether there was something to remove."""
        shape, section = self.data.input_shape, self.recipe.prune
        graph = ChannelGraph(self.model, shape)
        plan = dead_plan(
            graph, shape, floor=section.floor, keep=section.keep, bottlenecks=section.bottlenecks, after=self.plan
        )
        if plan is None:
            return False
        console.message(f"near zero: {plan.channels_before - plan.channels_after} of {plan.channels_before} channels")
        batch_size, seed = self.recipe.train.batch_size, self.recipe.seed
        proof = make_cut(Planned(graph, plan), self.data, batches=COMPENSATED, batch_size=batch_size, seed=seed)
        self.proof = max(self.proof, proof)
        self.plan = joined(self.plan, plan)
        placed(self.model, self.recipe, next(self.model.parameters()).device)
        return True
