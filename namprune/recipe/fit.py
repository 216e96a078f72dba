"""The sections of a recipe that train: the dense network, and the pruned one."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from namprune.choices import NonFinitePolicy, OptimizerName, ScheduleName
from namprune.recipe.section import NonNegative, Positive, Section


class FitSection(Section):
    """How a network is trained for a number of epochs."""

    epochs: Annotated[int, Field(ge=0, le=10_000, json_schema_extra=lambda schema: schema.pop("default"))] = 0
    """Passes over the training pictures; a fifth of train.epochs where it is not given."""
    batch_size: Annotated[int, Field(ge=2, le=65_536)] = 128
    """Pictures per step; an epoch's incomplete last batch is left out."""
    optimizer: OptimizerName = "sgd"
    """What makes the steps."""
    lr: Positive = 0.1
    """Peak learning rate."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of SGD; first beta of AdamW."""
    nesterov: bool = False
    """Whether SGD's momentum is Nesterov's."""
    weight_decay: NonNegative = 5e-4
    """On every parameter, but not on scale factors while they are penalized."""
    schedule: ScheduleName = "cosine"
    """Course of the learning rate: `constant`, `step`, `cosine` to zero, or `onecycle`."""
    milestones: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] = ()
    """Epochs at which `step` multiplies the rate by `decay`."""
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Factor of `step`."""
    warmup: NonNegative = 0.0
    """Epochs of linear warm-up from zero before the schedule."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each label that is spread evenly over all classes."""
    mixup: Annotated[float, Field(ge=0, le=100)] = 0.0
    """α of mixup, arXiv 1710.09412: pictures and labels of a batch are blended with others; 0 = not."""
    cutmix: Annotated[float, Field(ge=0, le=100)] = 0.0
    """α of CutMix, arXiv 1905.04899: a rectangle of each picture comes from another, and its share of the label; 0 =
    not. With `mixup` above 0, too, each batch gets one of them, at random."""
    accumulate: Annotated[int, Field(ge=1, le=4096)] = 1
    """Parts that a batch is passed through the network in, where it is too large for the device at once; BatchNorms
    see one part at a time."""
    nonfinite: NonFinitePolicy = "stop"
    """What a loss or gradient that is no finite number does (it never reaches the weights): `stop` the training, `skip`
    the step, ten in an epoch at most, or `rollback` to the start of the epoch with half of the learning rate, twice."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.schedule == "step" and not self.milestones:
            raise ValueError("schedule: step needs milestones, for example [60, 120, 160]")
        if self.milestones and self.schedule != "step":
            raise ValueError(f"milestones belong to schedule: step, not to {self.schedule}")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError("milestones must rise")
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate: {self.accumulate} parts of a batch_size of {self.batch_size} are not equal")
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise ValueError("nesterov needs optimizer: sgd with momentum above 0")
        if 0 < self.epochs < self.warmup:
            raise ValueError(f"warmup ({self.warmup:g} epochs) is longer than the training ({self.epochs} epochs)")
        return self


class TrainSection(FitSection):
    """How the dense network is trained."""

    epochs: Annotated[int, Field(ge=0, le=10_000)]
    """Passes over the training pictures; 0 takes a network from elsewhere as its weights are."""
    sync_bn: bool = True
    """Whether BatchNorms see the pictures of all devices, as if there were one; else each those of its own, which is
    faster. On one device nothing depends on it."""


class DistillSection(Section):
    """Knowledge distillation: the network before the cut teaches what is left of it."""

    weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the loss that compares the logits with the teacher's; the rest is the cross-entropy."""
    temperature: Annotated[float, Field(ge=0.1, le=100)] = 4.0
    """Divides the logits of both before they are compared: a higher one shows more of the unlikely classes."""


class FinetuneSection(FitSection):
    """How the pruned network is trained."""

    distill: DistillSection | None = None
    """What the network before the cut teaches; null = nothing."""
