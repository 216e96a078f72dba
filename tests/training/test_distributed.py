"""One training in two processes. Run as a script, this file is each of them, and writes what came of it."""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from namprune import distributed
from namprune.data import Data, Images, build_data
from namprune.errors import UserError
from namprune.models import build_model
from namprune.recipe import Recipe, load_recipe
from namprune.result import EpochRecord
from namprune.training import StepRecord, Training, build_training

pytestmark = pytest.mark.slow

SMALL = (
    "data.limit=160",
    "model.width=0.25",
    "train.epochs=2",
    "train.batch_size=32",
    "train.lr=0.02",
    "sparsity.l1_gamma=0.05",
    "sparsity.warmup=0",
    "runtime.device=cpu",
)
CASES: dict[str, tuple[str, ...]] = {
    "plain": (),
    "spatial": ("attention.part=both",),
    "parts": ("train.accumulate=2",),
    "skip": ("train.nonfinite=skip",),
    "apart": ("train.sync_bn=false",),
    "exact": ("train.lr=0.1",),
}
POISONED = {"skip": 2}
"""Cases in which the last picture of this batch is no number: in two processes the second one has it."""


@dataclass
class _Poisoned:
    """Training pictures of which one is no number, the first time that it comes."""

    images: Images
    batch: int

    def __len__(self) -> int:
        return len(self.images)

    def shuffled(self, *, part: tuple[int, int] = (0, 1), **options: Any) -> Iterator[tuple[Tensor, Tensor]]:
        for number, (x, y) in enumerate(self.images.shuffled(part=part, **options)):
            if number == self.batch:
                self.batch = -1
                if part[0] == part[1] - 1:
                    x[-1] = torch.nan
            yield x, y


@dataclass
class _Exact:
    """Training or validation pictures in float64."""

    images: Images

    def __len__(self) -> int:
        return len(self.images)

    def shuffled(self, **options: Any) -> Iterator[tuple[Tensor, Tensor]]:
        for x, y in self.images.shuffled(**options):
            yield x.double(), y

    def ordered(self, **options: Any) -> Iterator[tuple[Tensor, Tensor]]:
        for x, y in self.images.ordered(**options):
            yield x.double(), y


def _begun(case: str, *overrides: str) -> tuple[Training, Data]:
    torch.manual_seed(0)
    recipe = load_recipe("quickstart", overrides=[*SMALL, *CASES[case], *overrides])
    data = build_data(recipe.data, device=torch.device("cpu"), channels_last=True)
    if case in POISONED:
        data = replace(data, train=_Poisoned(data.train, POISONED[case]))
    model = _network(recipe, data)
    if case == "exact":
        model, data = model.double(), replace(data, train=_Exact(data.train), val=_Exact(data.val))
    return build_training(model, data, recipe, phase="train"), data


def _network(recipe: Recipe, data: Data) -> torch.nn.Module:
    model = build_model(recipe, classes=len(data.classes), input_shape=data.input_shape)
    return model.to(memory_format=torch.channels_last)


def _told(training: Training) -> dict[str, Any]:
    """All losses, and what came of the network."""
    events = list(training)
    state = training.model.state_dict()
    return {
        "losses": [event.loss for event in events if isinstance(event, StepRecord)],
        "epochs": [dataclasses.asdict(event) for event in events if isinstance(event, EpochRecord)],
        "weights": {name: value.flatten().tolist() for name, value in state.items()},
    }


def _resumed() -> list[bool]:
    """Whether a training that stopped in the middle of an epoch ends with the same bits, for some stops."""
    whole, _ = _begun("parts")
    list(whole)
    same = []
    for stop in (6,):
        first, _ = _begun("parts")
        events = iter(first)
        for _ in range(stop):
            next(events)
        state = {name: tensor.clone() for name, tensor in first.state_dict().items()}
        second, _ = _begun("parts")
        second.model.load_state_dict(first.model.state_dict())
        second.load_state_dict(state)
        list(second)
        pairs = zip(whole.model.state_dict().values(), second.model.state_dict().values(), strict=True)
        same.append(all(torch.equal(one, other) for one, other in pairs))
    return same


def _main(out: Path) -> None:
    with distributed.joined():
        found = {case: _told(_begun(case)[0]) for case in CASES} | {"resumed": _resumed()}
        (out / f"{distributed.rank()}.json").write_text(json.dumps(found))


@pytest.fixture(scope="module")
def both(in_two_processes: Callable[[str], list[Any]]) -> list[Any]:
    """What each of two processes found."""
    return in_two_processes(__file__)


def _apart(one: Sequence[float], other: Sequence[float]) -> float:
    """Largest difference between two courses of the loss."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("case", ["plain", "spatial", "parts", "skip"])
def test_two_processes_train_as_one(both: list[Any], case: str) -> None:
    alone, (first, second) = _told(_begun(case)[0]), [found[case] for found in both]
    assert len(alone["losses"]) == 8
    assert _apart(first["losses"], alone["losses"]) < 1e-5
    for name, values in alone["weights"].items():
        assert first["weights"][name] == pytest.approx(values, abs=1e-4, rel=1e-4), name
    assert first["weights"] == second["weights"]
    for epoch, reference in zip(first["epochs"], alone["epochs"], strict=True):
        assert epoch["val"]["images"] == reference["val"]["images"]
        assert epoch["val"]["loss"] == pytest.approx(reference["val"]["loss"], abs=1e-4)
        assert epoch["skipped"] == reference["skipped"] == (case == "skip" and epoch["epoch"] == 1)


def test_two_processes_are_one_but_for_rounding(both: list[Any]) -> None:
    # At this rate float32 itself is 1e-4 from float64 after 10 steps, on one process as on two.
    alone = _told(_begun("exact")[0])
    for name, values in alone["weights"].items():
        assert both[0]["exact"]["weights"][name] == pytest.approx(values, abs=1e-9, rel=1e-9), name


def test_what_each_has_apart_is_what_parts_have_one_after_the_other(both: list[Any]) -> None:
    # A BatchNorm that sees the pictures of its own process alone is as one that sees a batch part by part.
    parts = _told(_begun("apart", "train.accumulate=2")[0])
    whole = _told(_begun("apart")[0])
    found = both[0]["apart"]["losses"]
    assert _apart(found, parts["losses"]) < 1e-5
    assert _apart(found, whole["losses"]) > 1e-4
    assert both[0]["apart"]["weights"] == both[1]["apart"]["weights"]  # the running statistics of the first


def test_a_group_goes_on_to_the_same_bits(both: list[Any]) -> None:
    assert [found["resumed"] for found in both] == [[True]] * 2


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "size", lambda: 3)
    with pytest.raises(
        UserError, match=r"train\.batch_size: 32 .* 3 devices in 2 parts each .train\.accumulate"
    ) as caught:
        _begun("parts")
    assert "multiple of 6" in (caught.value.hint or "")


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
