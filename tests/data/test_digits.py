import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from namprune.data import Data, build_data
from namprune.errors import DataError
from namprune.recipe.data import DataSection

CPU = torch.device("cpu")


def _digits(limit: int | None = None) -> Data:
    return build_data(DataSection(name="digits", pad=1, flip=False, limit=limit), device=CPU)


def test_splits_hold_all_scans_once() -> None:
    data = _digits()
    splits = [list(split.ordered(batch_size=500)) for split in (data.train, data.val, data.test)]
    pixels = torch.cat([x for split in splits for x, _ in split]).flatten(1)
    labels = torch.cat([y for split in splits for _, y in split])
    ours = np.column_stack([labels.numpy(), pixels.numpy()])
    scans = load_digits()
    theirs = np.column_stack([scans.target, (scans.data / 16 - 0.3053) / 0.3759])
    # rounding to a byte keeps the order of the 17 levels, so sorted rows correspond
    for rows in (ours, theirs):
        rows[:] = rows[np.lexsort(rows.round(1).T[::-1])]
    np.testing.assert_allclose(ours, theirs, atol=0.5 / 255 / 0.3759 + 1e-5)


def test_shape_and_sizes() -> None:
    data = _digits()
    assert data.input_shape == (1, 8, 8)
    assert data.classes == tuple("0123456789")
    assert len(data.test) == 359  # a fifth, rounded per class
    assert len(data.val) == 143  # a tenth of the rest, rounded per class
    assert len(data.train) + len(data.val) + len(data.test) == 1797
    pictures, _ = next(data.train.shuffled(batch_size=32, seed=0, epoch=0))
    assert pictures.shape == (32, 1, 8, 8)


def test_normalization_has_mean_zero_and_deviation_one() -> None:
    data = _digits()
    pixels = torch.cat([x for s in (data.train, data.val, data.test) for x, _ in s.ordered(batch_size=2000)])
    assert abs(pixels.mean()) < 1e-3
    assert abs(pixels.std() - 1) < 1e-3


def test_limit_counts_training_with_validation() -> None:
    data = _digits(limit=100)
    assert (len(data.train), len(data.val), len(data.test)) == (90, 10, 100)
    assert data.digest != _digits().digest
    assert data.digest == _digits(limit=100).digest


def test_a_root_is_refused() -> None:
    with pytest.raises(DataError, match=r"data\.root /nowhere: digits come with"):
        build_data(DataSection(name="digits", root="/nowhere"), device=CPU)
