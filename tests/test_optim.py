import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR

from namprune.optim import build_optimizer, lr_factor

SGD = {"name": "sgd", "lr": 0.1, "momentum": 0.0, "nesterov": False}
ADAMW = {"name": "adamw", "lr": 0.1, "momentum": 0.85, "nesterov": False}


def course(make: type[LRScheduler], epochs: int, **options) -> list[float]:
    """Rates of torch's own schedule, from 1, at the start of each epoch and at the end."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer, **options)
    rates = [1.0]
    for _ in range(epochs):
        optimizer.step()
        scheduler.step()
        rates.append(scheduler.get_last_lr()[0])
    return rates


def test_step_is_torch_s_multistep() -> None:
    ours = [lr_factor(epoch, epochs=8, schedule="step", milestones=(2, 5), decay=0.2) for epoch in range(9)]
    assert ours == pytest.approx(course(MultiStepLR, 8, milestones=[2, 5], gamma=0.2))


def test_cosine_is_torch_s_annealing_to_zero() -> None:
    ours = [lr_factor(epoch, epochs=10, schedule="cosine") for epoch in range(11)]
    assert ours == pytest.approx(course(CosineAnnealingLR, 10, T_max=10), abs=1e-9)


def test_onecycle_rises_to_the_peak_at_three_tenths_and_falls_to_zero() -> None:
    progress = np.linspace(0, 20, 101)
    ours = [lr_factor(now, epochs=20, schedule="onecycle") for now in progress]
    assert ours == pytest.approx(np.interp(progress, [0, 6, 20], [0, 1, 0]))


def test_constant_stays() -> None:
    assert {lr_factor(now, epochs=5, schedule="constant") for now in (0, 0.5, 4.99, 5)} == {1.0}


@pytest.mark.parametrize("schedule", ["constant", "cosine", "onecycle", "step"])
def test_warmup_rises_linearly_and_shortens_the_course(schedule) -> None:
    options = {"schedule": schedule, "milestones": (6,) if schedule == "step" else (), "decay": 0.5}
    rising = [lr_factor(now, epochs=10, warmup=2, **options) for now in (0, 0.5, 1, 1.5)]
    assert rising == pytest.approx([0, 0.25, 0.5, 0.75])
    later = [lr_factor(now, epochs=10, warmup=2, **options) for now in (2, 4, 7, 10)]
    if schedule == "step":  # milestones count from the start of the training
        assert later == [1, 1, 0.5, 0.5]
    else:
        assert later == pytest.approx([lr_factor(now, epochs=8, **options) for now in (0, 2, 5, 8)])


def test_warmup_may_take_the_whole_training() -> None:
    assert lr_factor(1.5, epochs=3, warmup=3, schedule="cosine") == 0.5
    assert lr_factor(3, epochs=3, warmup=3, schedule="cosine") == 0.0


@pytest.mark.parametrize("options", [SGD, ADAMW], ids=["sgd", "adamw"])
def test_only_the_exempt_are_not_decayed(options) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    for parameter in model.parameters():
        nn.init.constant_(parameter, 2.0)
        parameter.grad = torch.zeros_like(parameter)
    optimizer = build_optimizer(model, weight_decay=0.5, no_decay=[model[1].weight], **options)
    optimizer.step()
    values = {name: parameter.unique().tolist() for name, parameter in model.named_parameters()}
    decayed = pytest.approx(2.0 * (1 - 0.1 * 0.5))
    assert values.pop("1.weight") == [2.0]
    assert len(values) == 5
    assert all(value == [decayed] for value in values.values())


@pytest.mark.parametrize("exempt", [False, True])
def test_every_parameter_is_optimized_once(exempt) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    no_decay = list(model.parameters()) if exempt else []
    optimizer = build_optimizer(model, weight_decay=0.5, no_decay=no_decay, **SGD)
    found = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(found) == sorted(id(parameter) for parameter in model.parameters())


def test_momentum_nesterov_and_betas_arrive() -> None:
    model = nn.Linear(1, 1)
    sgd = build_optimizer(model, weight_decay=0.0, **(SGD | {"momentum": 0.7, "nesterov": True}))
    adamw = build_optimizer(model, weight_decay=0.0, **ADAMW)
    assert (sgd.defaults["lr"], sgd.defaults["momentum"], sgd.defaults["nesterov"]) == (0.1, 0.7, True)
    assert (adamw.defaults["lr"], adamw.defaults["betas"]) == (0.1, (0.85, 0.999))
