"""What is no finite number, put in anywhere and at any step, changes nothing and is answered as the policy says."""

import math
import random
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from namprune.data.images import Batch
from namprune.optim import build_optimizer
from namprune.result import EpochRecord
from namprune.sparsity import build_penalty
from namprune.training import NonFiniteError, Setback, StepRecord, Training

STEPS, EPOCHS = 6, 3
PLACES = ("input", "logits", "weight", "gradient", "one gradient far down")
BAD = (math.nan, math.inf, -math.inf)


class _Noise:
    """Two classes that differ by their mean."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.labels = torch.arange(8 * STEPS) % 2
        self.pictures = torch.randn(8 * STEPS, 2, 3, 3, generator=generator) + self.labels[:, None, None, None]

    def __len__(self) -> int:
        return len(self.labels)

    def shuffled(
        self, *, batch_size: int, seed: int, epoch: int, start: int = 0, part: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(100 * seed + epoch))
        for index in order.split(batch_size)[start:]:
            mine = index.chunk(part[1])[part[0]]
            yield self.pictures[mine], self.labels[mine]

    def ordered(self, *, batch_size: int) -> Iterator[Batch]:
        yield from zip(self.pictures.split(batch_size), self.labels.split(batch_size), strict=True)


NOISE = _Noise()


class _Network(nn.Module):
    """Spoils what it is told to at forward passes of these numbers in training mode, from 0."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.last = nn.Linear(4, 2)
        self.passes, self.at, self.place, self.bad = 0, set[int](), "", math.nan

    def forward(self, x: Tensor) -> Tensor:
        spoilt = self.training and self.passes in self.at
        self.passes += self.training
        if not spoilt:
            return self._logits(x)
        place, weight = self.place, self.first.weight
        if place == "input":
            return self._logits(x.index_fill(0, torch.tensor(1), self.bad))
        if place == "logits":
            return self._logits(x) * self.bad
        if place == "weight":
            kept = weight.data[1, 1, 1, 1].clone()
            weight.data[1, 1, 1, 1] = self.bad
            logits = self._logits(x)
            weight.data[1, 1, 1, 1] = kept
            return logits
        parameter = self.last.bias if place == "gradient" else weight
        hook = parameter.register_hook(lambda gradient: _spoilt(gradient, self.bad))
        parameter.register_post_accumulate_grad_hook(lambda _: hook.remove())
        return self._logits(x)

    def _logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.norm(self.first(x)).relu().mean((2, 3)))
        return logits


def _spoilt(gradient: Tensor, bad: float) -> Tensor:
    gradient = gradient.clone()
    gradient.view(-1)[-1] = bad
    return gradient


def _training(model: _Network, **options: object) -> Training:
    name = options.pop("optimizer", "sgd")
    lr = 0.1 if name == "sgd" else 0.01
    optimizer = build_optimizer(model, name=name, lr=1.0, momentum=0.9, nesterov=False, weight_decay=0.01)
    penalty = build_penalty(model, l1_gamma=0.01, l1_lambda=0.0)
    settings = {"epochs": EPOCHS, "batch_size": 8, "lr_at": lambda _: lr} | options
    return Training(model=model, train=NOISE, val=NOISE, optimizer=optimizer, penalty=penalty, **settings)


def _bits(training: Training) -> dict[str, Tensor]:
    """Weights, statistics and all that the optimizer keeps; a count of forward passes is no statistic."""
    network = {name: value for name, value in training.model.state_dict().items() if "num_batches" not in name}
    optimizer = {name: value for name, value in training.state_dict().items() if name.startswith("optimizer.")}
    return {name: tensor.clone() for name, tensor in (network | optimizer).items()}


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _advance(events: Iterator[object], steps: int) -> None:
    """Take so many steps, and the records of epochs between them."""
    while steps:
        steps -= isinstance(next(events), StepRecord)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("place", PLACES)
def test_nothing_of_it_reaches_the_network_or_the_optimizer(place: str, optimizer: str) -> None:
    rng = random.Random(f"{place} {optimizer}")
    for number in [0, *(rng.randrange(STEPS * EPOCHS) for _ in range(11))]:
        model = _Network()
        model.at, model.place, model.bad = {number}, place, rng.choice(BAD)
        training = _training(model, nonfinite="skip", optimizer=optimizer)
        events = iter(training)
        _advance(events, number)
        before = _bits(training)
        _advance(events, 1)
        after = _bits(training)
        if number:
            assert _same(before, after)
        else:  # there was no state of the optimizer before the first step
            assert _same({name: after[name] for name in before}, before)
            assert all(not value.any() for name, value in after.items() if name not in before)
        if number < STEPS * EPOCHS - 1:
            _advance(events, 1)
            assert not _same(_bits(training), after)
            assert all(value.isfinite().all() for value in _bits(training).values())


def test_by_default_it_ends_the_training_by_its_epoch_and_step() -> None:
    model, twin = _Network(), _Network()
    model.at, model.place = {STEPS + 2}, "gradient"
    training, reference = _training(model), _training(twin)
    _advance(iter(reference), STEPS + 2)
    with pytest.raises(NonFiniteError, match=rf"no finite number in epoch 2, by step 3 of {STEPS}$"):
        list(training)
    for name, value in twin.state_dict().items():
        assert "num_batches" in name or torch.equal(model.state_dict()[name], value)
    with pytest.raises(NonFiniteError):  # no checkpoint is made of it
        training.state_dict()


def test_a_skipped_step_is_counted_and_left_out_of_the_means() -> None:
    model, clean = _Network(), _Network()
    model.at, model.place = {1, STEPS + 1, STEPS + 2}, "logits"
    records = [event for event in _training(model, nonfinite="skip") if isinstance(event, EpochRecord)]
    assert [record.skipped for record in records] == [1, 2, 0]
    assert all(math.isfinite(record.loss) for record in records)
    first = next(event for event in _training(clean) if isinstance(event, StepRecord))
    model = _Network()
    model.at, model.place = set(range(1, STEPS)), "input"
    events = iter(_training(model, nonfinite="skip"))
    *_, last = (next(events) for _ in range(STEPS))
    assert isinstance(last, StepRecord)
    assert (last.loss, last.accuracy) == (first.loss, first.accuracy)


@pytest.mark.parametrize("most", [10, 11])
def test_ten_steps_of_an_epoch_are_skipped_and_no_more(most: int) -> None:
    model = _Network()
    model.at, model.place = set(range(1, most + 1)), "logits"
    training = _training(model, nonfinite="skip", batch_size=4, epochs=1)  # 12 steps
    if most == 10:
        (record,) = (event for event in training if isinstance(event, EpochRecord))
        assert record.skipped == 10
    else:
        with pytest.raises(NonFiniteError, match="by step 12 of 12"):
            list(training)


def test_a_rollback_begins_the_epoch_again_with_half_of_the_rate_twice_at_most() -> None:
    model, reference = _Network(), _Network()
    model.at, model.place = {STEPS + 3, STEPS + 5}, "logits"  # in the second epoch, and two steps after it began again
    events = list(_training(model, nonfinite="rollback"))
    setbacks = [event for event in events if isinstance(event, Setback)]
    records = [event for event in events if isinstance(event, EpochRecord)]
    assert [(back.epoch, back.lr_scale) for back in setbacks] == [(1, 0.5), (1, 0.25)]
    assert [record.lr for record in records] == pytest.approx([0.1, 0.025, 0.025])
    list(_training(reference, lr_at=lambda now: 0.1 if now < 1 else 0.025))
    for name, value in reference.state_dict().items():
        assert "num_batches" in name or torch.equal(model.state_dict()[name], value)
    model = _Network()
    model.at, model.place = {STEPS + 3, STEPS + 5, STEPS + 7}, "logits"
    with pytest.raises(NonFiniteError, match="in epoch 2, by step 2"):
        list(_training(model, nonfinite="rollback"))


@pytest.mark.parametrize("stop", [2, 3 * STEPS // 2, 2 * STEPS + 1])
def test_a_rollback_goes_back_as_far_after_the_training_was_taken_up_elsewhere(stop: int) -> None:
    """`stop`: steps before, within and after the epoch that is gone back in."""
    poisoned: dict[str, object] = {"at": {STEPS + 4}, "place": "logits"}
    whole, first, second = _Network(), _Network(), _Network()
    for model in (whole, first, second):
        vars(model).update(poisoned)
    list(_training(whole, nonfinite="rollback"))
    training = _training(first, nonfinite="rollback")
    _advance(iter(training), stop)
    second.load_state_dict(first.state_dict())
    second.passes = first.passes
    later = _training(second, nonfinite="rollback")
    later.load_state_dict({name: tensor.clone() for name, tensor in training.state_dict().items()})
    list(later)
    assert later.lr_scale == 0.5
    for name, value in whole.state_dict().items():
        assert "num_batches" in name or torch.equal(second.state_dict()[name], value)


@pytest.mark.parametrize("change", [{"rollbacks": 0}, {"rollbacks": 2}])
def test_how_often_it_was_rolled_back_is_part_of_the_state(change: dict[str, int]) -> None:
    model = _Network()
    model.at, model.place = {STEPS + 3, 2 * STEPS + 4, 2 * STEPS + 6}, "logits"
    training = _training(model, nonfinite="rollback")
    events: Iterator[object] = iter(training)
    while not isinstance(next(events), Setback):
        pass
    state = {name: tensor.clone() for name, tensor in training.state_dict().items()}
    assert state["rollbacks"] == 1
    state["rollbacks"] = torch.tensor(float(change["rollbacks"]))
    training.load_state_dict(state)
    run: Callable[[], object] = lambda: list(training)  # noqa: E731
    if change["rollbacks"] == 0:
        run()
    else:
        with pytest.raises(NonFiniteError):
            run()


def test_statistics_beside_a_finite_loss_stay_finite() -> None:
    model = _Network()
    with torch.no_grad():
        model.first.weight.fill_(1e25)  # its variance overflows, the normalized values do not
    with pytest.raises(NonFiniteError):
        list(_training(model))
    assert torch.equal(model.norm.running_var, torch.ones(4))


def test_an_epoch_without_a_step_is_the_end() -> None:
    model = _Network()
    model.at, model.place = {*range(STEPS)}, "logits"
    with pytest.raises(NonFiniteError, match="epoch 1, by every step"):
        list(_training(model, nonfinite="skip"))
