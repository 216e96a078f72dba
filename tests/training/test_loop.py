import math
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from namprune.data.images import Data
from namprune.errors import NampruneError
from namprune.optim import build_optimizer
from namprune.recipe.schema import Recipe
from namprune.result import EpochRecord
from namprune.sparsity import build_penalty
from namprune.training import Event, StepRecord, Training, build_training, fit, penalty_travel
from namprune.training.distill import Distillation

CLASSES = 3


@dataclass(frozen=True)
class _Stripes:
    """Noise with one bright row, whose number is the label."""

    pictures: Tensor
    labels: Tensor

    @classmethod
    def make(cls, count: int) -> "_Stripes":
        generator = torch.Generator().manual_seed(count)
        labels = torch.arange(count) % CLASSES
        pictures = 0.5 * torch.randn(count, 1, 4, 4, generator=generator)
        pictures[torch.arange(count), 0, labels] += 2.0
        return cls(pictures, labels)

    def __len__(self) -> int:
        return len(self.labels)

    def shuffled(
        self, *, batch_size: int, seed: int, epoch: int, start: int = 0, part: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(1000 * seed + epoch))
        for index in order[: len(self) // batch_size * batch_size].split(batch_size)[start:]:
            mine = index.chunk(part[1])[part[0]]
            yield self.pictures[mine], self.labels[mine]

    def ordered(self, *, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(self.pictures.split(batch_size), self.labels.split(batch_size), strict=True)


TRAIN, VAL = _Stripes.make(100), _Stripes.make(33)


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 16, (1, 4), bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(64, CLASSES)),
    )


def _training(model: nn.Module, **options: object) -> Training:
    optimizer = build_optimizer(model, name="sgd", lr=1.0, momentum=0.9, nesterov=False, weight_decay=0.0)
    penalty = build_penalty(model, l1_gamma=0.0, l1_lambda=0.0)
    settings: dict[str, object] = {"epochs": 3, "batch_size": 16, "lr_at": lambda _: 0.05}
    settings |= {"train": TRAIN, "val": VAL, "optimizer": optimizer, "penalty": penalty}
    return Training(model=model, **(settings | options))


def _events(model: nn.Module, **options: object) -> list[Event]:
    return list(_training(model, **options))


def _recipe(**train: object) -> Recipe:
    """`l1_gamma` and `sparsity_warmup` go to the sparsity section, `distill` to fine-tuning alone."""
    sparsity = {"l1_gamma": train.pop("l1_gamma", 0.0), "warmup": train.pop("sparsity_warmup", 0.0)}
    distill = train.pop("distill", None)
    section = {"epochs": 4, "batch_size": 16, "lr": 0.05, "schedule": "constant"} | train
    return Recipe.model_validate(
        {
            "data": {"name": "digits"},
            "model": {"name": "resnet20"},
            "train": section,
            "finetune": section | {"distill": distill},
            "sparsity": sparsity,
            "runtime": {"device": "cpu"},
        }
    )


def _data() -> Data:
    names = tuple(map(str, range(CLASSES)))
    return Data(train=TRAIN, val=VAL, test=VAL, classes=names, input_shape=(1, 4, 4), label="stripes", digest="")


def _weights(model: nn.Module) -> Tensor:
    return torch.cat([tensor.flatten().double() for tensor in model.state_dict().values()])


def test_one_seed_gives_the_same_bits_and_another_does_not() -> None:
    models = [_network() for _ in range(3)]
    for model, seed in zip(models, (5, 5, 6), strict=True):
        _events(model, seed=seed)
    first, again, other = map(_weights, models)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_it_learns_and_says_so() -> None:
    model = _network()
    epochs = [event for event in _events(model, epochs=6) if isinstance(event, EpochRecord)]
    assert epochs[-1].loss < 0.3 * epochs[0].loss
    assert epochs[-1].accuracy > 0.95
    assert epochs[-1].val.top1 > 0.9
    assert epochs[-1].val.images == len(VAL)
    assert model.training


def test_events_count_steps_and_epochs() -> None:
    times: list[float] = []

    def lr_at(now: float) -> float:
        times.append(now)
        return 0.01 * (1 + now)

    model = _network()
    events = _events(model, epochs=2, lr_at=lr_at, phase="finetune")
    kinds = [type(event) for event in events]
    assert kinds == ([StepRecord] * 6 + [EpochRecord]) * 2  # 100 // 16 full batches
    steps = [event for event in events if isinstance(event, StepRecord)]
    assert [(s.epoch, s.step, s.steps) for s in steps] == [(e, i, 6) for e in range(2) for i in range(6)]
    assert sorted({*times}) == pytest.approx([(step + 0.5) / 6 for step in range(12)])
    first, second = (event for event in events if isinstance(event, EpochRecord))
    assert (first.phase, first.epoch, second.epoch, second.epochs) == ("finetune", 1, 2, 2)
    assert second.lr == pytest.approx(0.01 * (1 + 11.5 / 6))
    assert (second.loss, second.accuracy) == (steps[-1].loss, steps[-1].accuracy)
    assert all(step.images_per_second > 0 for step in steps)


def test_a_training_in_parts_is_one_training() -> None:
    whole, parts = _network(), _network()
    recipe = _recipe(epochs=5, l1_gamma=0.01, sparsity_warmup=2.0, schedule="cosine")
    records = fit(whole, _data(), recipe)
    training, events = build_training(parts, _data(), recipe, phase="train"), []
    for training.until in (2, 3, 5):
        events += [event for event in training if isinstance(event, EpochRecord)]
        assert training.epoch == training.until
    assert torch.equal(_weights(parts), _weights(whole))
    assert [(one.epoch, one.epochs, one.lr, one.val) for one in events] == [
        (one.epoch, one.epochs, one.lr, one.val) for one in records
    ]


def test_a_course_has_the_whole_schedule_and_an_order_of_its_own() -> None:
    recipe = _recipe(epochs=6, schedule="cosine", warmup=1.0)
    alone, first, later = _network(), _network(), _network()
    whole = fit(alone, _data(), _recipe(epochs=3, schedule="cosine", warmup=1.0), phase="finetune")
    courses = [
        list(build_training(model, _data(), recipe, phase="finetune", course=course))
        for model, course in ((first, range(3)), (later, range(3, 6)))
    ]
    records = [[event for event in events if isinstance(event, EpochRecord)] for events in courses]
    assert [[one.epoch for one in course] for course in records] == [[1, 2, 3], [4, 5, 6]]
    for course in records:
        assert [one.lr for one in course] == pytest.approx([one.lr for one in whole])
    assert torch.equal(_weights(first), _weights(alone))
    assert not torch.equal(_weights(later), _weights(alone))


def test_the_optimizer_takes_the_step_that_was_asked() -> None:
    model, reference = _network(), _network()
    _events(model, epochs=1, lr_at=lambda now: 0.1 * now, label_smoothing=0.1)
    optimizer = torch.optim.SGD(reference.parameters(), lr=1.0, momentum=0.9)
    for step, (x, y) in enumerate(TRAIN.shuffled(batch_size=16, seed=0, epoch=0)):
        optimizer.param_groups[0]["lr"] = 0.1 * (step + 0.5) / 6
        logs = F.log_softmax(reference(x), 1)
        target = 0.9 * F.one_hot(y, CLASSES) + 0.1 / CLASSES
        optimizer.zero_grad()
        (-(target * logs).sum(1)).mean().backward()
        optimizer.step()
    torch.testing.assert_close(_weights(model), _weights(reference), atol=1e-5, rtol=1e-5)


def test_a_loss_that_is_no_number_stops_the_run() -> None:
    model = _network()
    with pytest.raises(NampruneError, match=r"train: the loss or a gradient was no finite number in epoch 1") as caught:
        _events(model, lr_at=lambda _: 1e20)
    assert "train.lr" in (caught.value.hint or "")


def test_bf16_keeps_the_weights_in_float32() -> None:
    model, plain = _network(), _network()
    records = [event for event in _events(model, precision="bf16") if isinstance(event, EpochRecord)]
    _events(plain, precision="fp32")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not torch.equal(_weights(model), _weights(plain))
    assert math.isfinite(records[-1].loss)


def test_a_strong_penalty_makes_zeros_and_none_does_not() -> None:
    spreads = []
    for l1_gamma in (0.0, 0.1):
        records = fit(_network(), _data(), _recipe(epochs=25, l1_gamma=l1_gamma, schedule="cosine"))
        assert records[-1].gamma is not None
        spreads.append(records[-1].gamma)
        assert records[-1].accuracy > 0.9
    assert spreads[0].near_zero < 0.05
    assert spreads[1].near_zero > 0.4


def test_fine_tuning_has_no_penalty_and_another_order() -> None:
    recipe = _recipe(l1_gamma=0.5)
    tuned, plain, trained = _network(), _network(), _network()
    fit(tuned, _data(), recipe, phase="finetune")
    fit(plain, _data(), _recipe(), phase="finetune")
    fit(trained, _data(), _recipe())
    assert torch.equal(_weights(tuned), _weights(plain))
    assert not torch.equal(_weights(tuned), _weights(trained))


def test_training_is_pulled_step_by_step() -> None:
    model = _network()
    before = _weights(model)
    events = build_training(model, _data(), _recipe(), phase="train")
    assert torch.equal(_weights(model), before)
    assert isinstance(next(iter(events)), StepRecord)
    assert not torch.equal(_weights(model), before)


def test_the_recipes_travel_is_summed_over_its_steps() -> None:
    # 4 epochs of 6 steps at 0.05, the first half under a linear warm-up of the strength: 12 + 12 / 2 full steps
    recipe = _recipe(l1_gamma=0.01, sparsity_warmup=2.0)
    assert penalty_travel(recipe, images=100) == pytest.approx(18 * 0.05 * 0.01 / (1 - 0.9))


def test_a_distilled_step_follows_the_plain_formula() -> None:
    model, reference, teacher = _network(), _network(), _network()
    _events(teacher, epochs=1)
    teacher.zero_grad()
    state = {key: value.clone() for key, value in teacher.state_dict().items()}
    _events(model, epochs=1, distillation=Distillation(teacher=teacher.eval(), weight=0.3, temperature=2.0))
    optimizer = torch.optim.SGD(reference.parameters(), lr=0.05, momentum=0.9)
    for x, y in TRAIN.shuffled(batch_size=16, seed=0, epoch=0):
        logits, taught = reference(x), teacher(x).detach()
        q, p = (logits / 2).softmax(1), (taught / 2).softmax(1)
        divergence = (p * (p / q).log()).sum(1).mean()
        optimizer.zero_grad()
        (0.7 * F.cross_entropy(logits, y) + 0.3 * 4 * divergence).backward()
        optimizer.step()
    torch.testing.assert_close(_weights(model), _weights(reference), atol=1e-5, rtol=1e-5)
    assert all(torch.equal(value, state[key]) for key, value in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_the_teacher_is_asked_only_when_fine_tuning() -> None:
    plain, silent, taught, trained, untaught = (_network() for _ in range(5))
    for model, distill in ((plain, None), (silent, {"weight": 0.0}), (taught, {})):
        fit(model, _data(), _recipe(distill=distill), phase="finetune", teacher=_network())
    assert torch.equal(_weights(silent), _weights(plain))
    assert not torch.equal(_weights(taught), _weights(plain))
    fit(trained, _data(), _recipe(distill={}))
    fit(untaught, _data(), _recipe())
    assert torch.equal(_weights(trained), _weights(untaught))
    with pytest.raises(ValueError, match="needs a teacher"):
        fit(plain, _data(), _recipe(distill={}), phase="finetune")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_no_step_waits_for_the_device() -> None:
    class There(_Stripes):
        def shuffled(self, *, batch_size: int, **_: object) -> Iterator[tuple[Tensor, Tensor]]:
            yield from zip(self.pictures.split(batch_size), self.labels.split(batch_size), strict=True)

    made = _Stripes.make(16 * 40)
    model = _network().cuda()
    train = There(made.pictures.cuda(), made.labels.cuda())
    penalty = build_penalty(model, l1_gamma=0.1, l1_lambda=0.0, form="polarized", share=0.5)
    events = iter(_training(model, train=train, penalty=penalty, precision="bf16"))
    next(events)  # what is set up once
    torch.cuda.set_sync_debug_mode("error")
    try:
        steps = [next(events) for _ in range(38)]  # the last of an epoch is read
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(isinstance(step, StepRecord) for step in steps)
