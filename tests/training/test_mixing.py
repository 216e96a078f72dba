"""Mixed batches: the published formulas, and what they depend on."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from namprune.data.images import Batch, Data
from namprune.recipe.schema import Recipe
from namprune.result import EpochRecord
from namprune.training import StepRecord, Training, build_training
from namprune.training.mixing import Mixed

CLASSES, BATCH, BATCHES = 3, 8, 12


class _Noise:
    """Every batch its own noise, with a mean that is the label."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.labels = torch.randint(CLASSES, (BATCH * BATCHES,), generator=generator)
        noise = torch.rand(len(self.labels), 6, 8, 2, generator=generator) + self.labels[:, None, None, None]
        self.pictures = noise.permute(0, 3, 1, 2)  # channels_last in memory

    def __len__(self) -> int:
        return len(self.labels)

    def shuffled(
        self, *, batch_size: int, seed: int, epoch: int, start: int = 0, part: tuple[int, int] = (0, 1)
    ) -> Iterator[Batch]:
        assert (seed >= 0, epoch >= 0, part) == (True, True, (0, 1))
        for index in torch.arange(len(self)).split(batch_size)[start:]:
            yield self.pictures[index], self.labels[index]

    def ordered(self, *, batch_size: int) -> Iterator[Batch]:
        yield from zip(self.pictures.split(batch_size), self.labels.split(batch_size), strict=True)


NOISE = _Noise()


def batches(*, mixup: float = 0.0, cutmix: float = 0.0, start: int = 0, seed: int = 0, epoch: int = 0) -> list[Batch]:
    mixed = Mixed(images=NOISE, classes=CLASSES, mixup=mixup, cutmix=cutmix)
    return list(mixed.shuffled(batch_size=BATCH, seed=seed, epoch=epoch, start=start))


def shares(x: Tensor, y: Tensor, index: int) -> tuple[float, Tensor, Tensor]:
    """The share that a batch keeps of its own, by its labels alone, and pictures before mixing and rolled by one."""
    own = slice(index * BATCH, (index + 1) * BATCH)
    pictures, labels = NOISE.pictures[own], F.one_hot(NOISE.labels[own], CLASSES).float()
    other = labels.roll(1, 0)
    row = int((labels != other).any(1).nonzero()[0])
    share = float(y[row, labels[row].argmax()])
    torch.testing.assert_close(y, share * labels + (1 - share) * other)
    return share, pictures, pictures.roll(1, 0)


def test_mixup_is_the_published_formula_in_the_memory_format_of_the_batch() -> None:
    found = []
    for index, (x, y) in enumerate(batches(mixup=0.5)):
        share, own, other = shares(x, y, index)
        torch.testing.assert_close(x, share * own + (1 - share) * other)
        assert x.is_contiguous(memory_format=torch.channels_last)
        found.append(share)
    assert len({*found}) == BATCHES
    assert min(found) < 0.3 < 0.7 < max(found)


def test_cutmix_puts_in_one_rectangle_of_the_share_that_the_labels_say() -> None:
    for index, (x, y) in enumerate(batches(cutmix=1.0)):
        share, own, other = shares(x, y, index)
        foreign = (x != own).any(0).any(0)  # (H, W)
        rows, columns = foreign.any(1), foreign.any(0)
        assert torch.equal(foreign, rows[:, None] & columns)
        assert all(torch.diff(line.int()).abs().sum() <= 2 for line in (rows, columns))
        assert torch.equal(x[..., foreign], other[..., foreign])
        assert share == pytest.approx(1 - foreign.float().mean().item(), abs=1e-6)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_shares_follow_the_beta_distribution(alpha: float) -> None:
    found = [shares(*batch, i)[0] for epoch in range(40) for i, batch in enumerate(batches(mixup=alpha, epoch=epoch))]
    drawn = torch.tensor(found)
    assert drawn.mean().item() == pytest.approx(0.5, abs=0.05)
    assert drawn.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.15)


def test_of_both_each_batch_gets_one_at_random() -> None:
    kinds = []
    for index, (x, y) in enumerate(batches(mixup=1.0, cutmix=1.0)):
        share, own, other = shares(x, y, index)
        kinds.append(torch.allclose(x, share * own + (1 - share) * other, atol=1e-5))
    assert {*kinds} == {True, False}


def test_a_batch_depends_on_seed_epoch_and_number_alone() -> None:
    whole = batches(mixup=1.0, cutmix=1.0)
    state = torch.get_rng_state()
    late = batches(mixup=1.0, cutmix=1.0, start=7)
    assert torch.equal(state, torch.get_rng_state())
    for (x, y), (x_late, y_late) in zip(whole[7:], late, strict=True):
        assert torch.equal(x, x_late)
        assert torch.equal(y, y_late)
    for other in (batches(mixup=1.0, cutmix=1.0, epoch=1), batches(mixup=1.0, cutmix=1.0, seed=1)):
        equal = [torch.equal(x, x_other) for (x, _), (x_other, _) in zip(whole, other, strict=True)]
        assert sum(equal) < 3  # CutMix may leave a batch as it is


def _training(**section: Any) -> Training:
    fit = {"epochs": 2, "batch_size": 2 * BATCH, "lr": 0.05, "accumulate": 2} | section
    recipe = Recipe.model_validate(
        {
            "data": {"name": "digits"},
            "model": {"name": "resnet20"},
            "train": fit,
            "finetune": fit | {"distill": {"weight": 0.5}},
            "runtime": {"device": "cpu"},
        }
    )
    names = tuple(map(str, range(CLASSES)))
    data = Data(train=NOISE, val=NOISE, test=NOISE, classes=names, input_shape=(2, 6, 8), label="", digest="")
    networks = []
    for _ in range(2):
        torch.manual_seed(0)
        layers = nn.Conv2d(2, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1)
        networks.append(nn.Sequential(*layers, nn.Flatten(), nn.Linear(192, CLASSES)))
    return build_training(networks[0], data, recipe, phase="finetune", teacher=networks[1])


def test_a_mixed_training_is_taken_up_in_an_epoch_to_the_same_bits() -> None:
    """With parts of batches, a teacher and label smoothing."""
    mixing = {"mixup": 0.4, "cutmix": 1.0, "label_smoothing": 0.1}
    whole, first, second = (_training(**mixing) for _ in range(3))
    records = [event for event in whole if isinstance(event, EpochRecord)]
    assert all(0 < record.accuracy < 1 and record.loss > 0 for record in records)
    for event in first:
        if isinstance(event, StepRecord) and (event.epoch, event.step) == (1, 2):
            break
    second.model.load_state_dict(first.model.state_dict())
    second.load_state_dict({name: tensor.clone() for name, tensor in first.state_dict().items()})
    later = [event for event in second if isinstance(event, EpochRecord)]
    assert later[0].loss == records[1].loss
    tensors = zip(whole.model.state_dict().values(), second.model.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in tensors)


def test_without_it_pictures_come_as_they_are() -> None:
    assert _training().train is NOISE
    assert isinstance(_training(mixup=0.1).train, Mixed)
