"""Optimizer and learning-rate course of a training section."""

import math
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import nn

from namprune.choices import OptimizerName, ScheduleName


def build_optimizer(
    model: nn.Module,
    *,
    name: OptimizerName,
    lr: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    no_decay: Collection[nn.Parameter] = (),
) -> torch.optim.Optimizer:
    """Fused SGD or AdamW over all parameters; those in `no_decay` (the penalized factors) are not decayed."""
    exempt = {id(parameter) for parameter in no_decay}
    decayed = [p for p in model.parameters() if id(p) not in exempt]
    groups: list[dict[str, Any]] = [{"params": decayed, "weight_decay": weight_decay}]
    if exempt:
        groups.append({"params": [p for p in model.parameters() if id(p) in exempt], "weight_decay": 0.0})
    adaptive = name == "adamw"
    optimizer: torch.optim.Optimizer
    if adaptive:
        optimizer = torch.optim.AdamW(groups, lr=lr, betas=(momentum, 0.999), fused=True)
    else:
        optimizer = torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=True)
    # What the first step would set up: a first step that is none (`found_inf`) would leave SGD's uninitialised, and a
    # checkpoint has its full size from the start.
    for parameter in model.parameters():
        if adaptive:
            moments = {key: torch.zeros_like(parameter) for key in ("exp_avg", "exp_avg_sq")}
            optimizer.state[parameter] = {"step": torch.zeros((), device=parameter.device), **moments}
        elif momentum:
            optimizer.state[parameter] = {"momentum_buffer": torch.zeros_like(parameter)}
    return optimizer


def lr_factor(
    progress: float,
    *,
    epochs: int,
    schedule: ScheduleName,
    warmup: float = 0.0,
    milestones: Sequence[int] = (),
    decay: float = 0.1,
) -> float:
    """Share of the peak rate after `progress` epochs of `epochs`.

    `cosine` falls to zero at the end; `onecycle` rises linearly to the peak at 30 % and falls linearly to zero;
    `step` multiplies by `decay` at each milestone. A linear warm-up precedes and shortens the course.
    """
    if progress < warmup:
        return progress / warmup
    share = (progress - warmup) / (epochs - warmup) if epochs > warmup else 1.0
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * share))
    if schedule == "onecycle":
        return share / 0.3 if share < 0.3 else (1 - share) / 0.7
    if schedule == "step":
        return decay ** sum(progress >= milestone for milestone in milestones)
    return 1.0
