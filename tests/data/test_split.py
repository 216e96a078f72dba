import pytest
import torch

from namprune.data.split import hold_out, limited
from namprune.errors import DataError

LABELS = torch.tensor([0] * 50 + [1] * 30 + [2] * 3)[torch.randperm(83)]
CLASSES = ("a", "b", "c")


def test_hold_out_is_disjoint_complete_and_stratified() -> None:
    kept, held = hold_out(LABELS, fraction=0.1, classes=CLASSES, purpose="val")
    assert torch.equal(torch.cat([kept, held]).sort().values, torch.arange(83))
    assert torch.bincount(LABELS[held]).tolist() == [5, 3, 1]  # 10 %, at least one
    assert torch.equal(held, held.sort().values)


def test_hold_out_is_fixed_and_differs_by_purpose() -> None:
    torch.manual_seed(1)
    _, first = hold_out(LABELS, fraction=0.2, classes=CLASSES, purpose="val")
    torch.manual_seed(2)
    _, second = hold_out(LABELS, fraction=0.2, classes=CLASSES, purpose="val")
    _, test = hold_out(LABELS, fraction=0.2, classes=CLASSES, purpose="test")
    assert torch.equal(first, second)
    assert not torch.equal(first, test)


def test_hold_out_is_not_the_head_of_each_class() -> None:
    labels = torch.arange(2).repeat_interleave(100)
    _, held = hold_out(labels, fraction=0.2, classes=("a", "b"), purpose="val")
    assert held[:20].max() > 50


@pytest.mark.parametrize("labels", [[0, 0, 1], [0, 0, 0]])
def test_hold_out_needs_two_of_each_class(labels: list[int]) -> None:
    with pytest.raises(DataError, match=r"class 'b' has [01] training pictures"):
        hold_out(torch.tensor(labels), fraction=0.1, classes=("a", "b"), purpose="val")


@pytest.mark.parametrize(
    ("limit", "counts"),
    [(9, [3, 3, 3]), (20, [9, 8, 3]), (70, [37, 30, 3]), (83, [50, 30, 3]), (None, [50, 30, 3])],
)
def test_limit_is_even_until_a_class_runs_out(limit: int | None, counts: list[int]) -> None:
    index = limited(LABELS, limit)
    assert torch.bincount(LABELS[index], minlength=3).tolist() == counts
    assert torch.equal(index, index.unique())
    assert torch.equal(index, limited(LABELS, limit))
