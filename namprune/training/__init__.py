"""Training and fine-tuning, which are the same loop with another section of the recipe."""

from functools import partial
from itertools import islice
from typing import Literal, TypeAlias

import torch
from torch import nn

from namprune import distributed
from namprune.data.images import Batch, Data, Images
from namprune.distributed import Forward
from namprune.errors import UserError
from namprune.optim import build_optimizer, lr_factor
from namprune.recipe.fit import DistillSection, FitSection
from namprune.recipe.schema import Recipe, SparsitySection
from namprune.result import EpochRecord
from namprune.sparsity import Penalty, build_penalty, travel
from namprune.training.distill import Distillation
from namprune.training.guard import NonFiniteError
from namprune.training.loop import Event, Setback, StepRecord, Training
from namprune.training.mixing import Mixed
from namprune.training.trial import Trial, Way, fastest_forward, forward_of, price_of_determinism

__all__ = [
    "Event",
    "Forward",
    "NonFiniteError",
    "Phase",
    "Setback",
    "StepRecord",
    "Training",
    "Trial",
    "Way",
    "build_training",
    "fit",
    "forward_of",
    "penalty_travel",
    "price_of_determinism",
    "trial_batches",
    "trial_of",
]

Phase: TypeAlias = Literal["train", "finetune"]

TRIAL_BATCHES = 4
"""That the steps of a trial take in turns."""


def build_training(
    model: nn.Module,
    data: Data,
    recipe: Recipe,
    *,
    phase: Phase,
    teacher: nn.Module | None = None,
    span: range | None = None,
    course: range | None = None,
    forward: Forward | None = None,
) -> Training:
    """A recipe's training of `model`, or its fine-tuning, which has no penalty; it begins as it is iterated.

    `teacher` is what `finetune.distill` needs: the network before the cut, put into eval mode and else left alone.
    `course` are the epochs over which the learning rate takes its whole course, all of them where it is not given,
    and `span` those that are run, the whole course where it is not given. `forward` computes the network, which is else
    done in the way that the recipe says.

    Raises:
        UserError: a batch is not the same for all devices.
        ValueError: the recipe distills and there is no teacher.
    """
    section: FitSection = recipe.train if phase == "train" else recipe.finetune
    _check_parts(section, phase)
    penalty = _penalty_of(model, recipe, phase)
    course = range(section.epochs) if course is None else course
    factor = _lr_factor(section, epochs=len(course))
    return Training(
        model=model,
        train=_pictures(data, section),
        val=data.val,
        epochs=section.epochs,
        batch_size=section.batch_size,
        optimizer=_optimizer_of(model, recipe, phase=phase),
        lr_at=lambda now: section.lr * factor(now - course.start),
        penalty=penalty,
        label_smoothing=section.label_smoothing,
        distillation=_distillation(teacher, recipe.finetune.distill if phase == "finetune" else None),
        # Fine-tuning goes on with another order than the one that training began with.
        seed=recipe.seed if phase == "train" else recipe.seed + 1_000_003,
        precision=recipe.runtime.precision,
        forward=_forward(model, data, recipe, phase) if forward is None else forward,
        accumulate=section.accumulate,
        sync_bn=recipe.train.sync_bn,
        nonfinite=section.nonfinite,
        phase=phase,
        span=course if span is None else span,
    )


def trial_of(model: nn.Module, data: Data, recipe: Recipe, *, phase: Phase) -> Trial:
    """Which way of computing the network trains fastest in this recipe."""
    section: FitSection = recipe.train if phase == "train" else recipe.finetune
    return fastest_forward(
        model,
        trial_batches(data, section),
        precision=recipe.runtime.precision,
        device=next(model.parameters()).device,
        graphs=section.accumulate == 1 and distributed.size() == 1,
    )


def trial_batches(data: Data, section: FitSection) -> list[Batch]:
    """A few batches as a training gives them to the network."""
    part = distributed.rank(), distributed.size()
    batches = islice(data.train.shuffled(batch_size=section.batch_size, seed=0, epoch=0, part=part), TRIAL_BATCHES)
    size = section.batch_size // part[1] // section.accumulate
    return [(x[:size], y[:size]) for x, y in batches]


def _optimizer_of(model: nn.Module, recipe: Recipe, *, phase: Phase) -> torch.optim.Optimizer:
    """A recipe's optimizer of training or fine-tuning, over the parameters that the network has now."""
    section: FitSection = recipe.train if phase == "train" else recipe.finetune
    return build_optimizer(
        model,
        name=section.optimizer,
        lr=section.lr,
        momentum=section.momentum,
        nesterov=section.nesterov,
        weight_decay=section.weight_decay,
        no_decay=_penalty_of(model, recipe, phase).penalized,
    )


def fit(
    model: nn.Module,
    data: Data,
    recipe: Recipe,
    *,
    phase: Phase = "train",
    teacher: nn.Module | None = None,
) -> list[EpochRecord]:
    """Train `model` in place, as in `build_training`, and return a record per epoch."""
    events = build_training(model, data, recipe, phase=phase, teacher=teacher)
    return [event for event in events if isinstance(event, EpochRecord)]


def penalty_travel(recipe: Recipe, *, images: int) -> float:
    """B of `sparsity.travel`: how far the recipe's penalty can move a γ; below 1 it makes no zeros."""
    section, steps = recipe.train, max(1, images // recipe.train.batch_size)
    penalty = _penalty(nn.Identity(), recipe.sparsity, section.epochs)
    factor = _lr_factor(section, epochs=section.epochs)
    times = [(step + 0.5) / steps for step in range(section.epochs * steps)]
    return travel(
        recipe.sparsity.l1_gamma,
        [section.lr * factor(now) for now in times],
        [penalty.strength(now / section.epochs) for now in times],
        momentum=section.momentum if section.optimizer == "sgd" else 0.0,
    )


def _check_parts(section: FitSection, phase: Phase) -> None:
    devices, parts = distributed.size(), section.accumulate
    if section.batch_size % (devices * parts):
        raise UserError(
            f"{phase}.batch_size: {section.batch_size} pictures are not the same number for {devices} devices"
            + f" in {parts} parts each ({phase}.accumulate)" * (parts > 1),
            hint=f"take a multiple of {devices * parts}, or another number of devices",
        )


def _pictures(data: Data, section: FitSection) -> Images:
    if not section.mixup and not section.cutmix:
        return data.train
    return Mixed(images=data.train, classes=len(data.classes), mixup=section.mixup, cutmix=section.cutmix)


def _forward(model: nn.Module, data: Data, recipe: Recipe, phase: Phase) -> Forward | None:
    if recipe.runtime.compile == "auto":
        return trial_of(model, data, recipe, phase=phase).forward
    return forward_of(model, "compile") if recipe.runtime.compile else None


def _penalty_of(model: nn.Module, recipe: Recipe, phase: Phase) -> Penalty:
    if phase == "train":
        return _penalty(model, recipe.sparsity, recipe.train.epochs)
    return _penalty(model, SparsitySection(), recipe.finetune.epochs)


def _penalty(model: nn.Module, section: SparsitySection, epochs: int) -> Penalty:
    return build_penalty(
        model,
        l1_gamma=section.l1_gamma,
        l1_lambda=section.l1_lambda,
        on=section.on,
        warmup=section.warmup / epochs if epochs else 0.0,
        form=section.form,
        share=section.share,
    )


def _distillation(teacher: nn.Module | None, section: DistillSection | None) -> Distillation | None:
    if section is None:
        return None
    if teacher is None:
        raise ValueError("finetune.distill needs a teacher")
    return Distillation(teacher=teacher.eval(), weight=section.weight, temperature=section.temperature)


def _lr_factor(section: FitSection, *, epochs: int) -> "partial[float]":
    return partial(
        lr_factor,
        epochs=epochs,
        schedule=section.schedule,
        warmup=section.warmup,
        milestones=section.milestones,
        decay=section.decay,
    )
