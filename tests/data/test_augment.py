import pytest
import torch

from namprune.data.augment import crop, draw_epoch
from namprune.errors import DataError


@pytest.mark.parametrize("channels", [1, 3])
def test_gather_equals_a_loop_of_slices(channels: int) -> None:
    pad, count, height, width = 2, 12, 5, 7
    pictures = torch.randint(256, (count, height, width, channels), dtype=torch.uint8)
    padded = torch.zeros(count, height + 2 * pad, width + 2 * pad, channels, dtype=torch.uint8)
    padded[:, pad:-pad, pad:-pad] = pictures
    draws = draw_epoch(count, pad=pad, flip=True, batch_size=count, seed=1, epoch=2)

    expected = []
    for i, top, left, mirrored in zip(
        draws.picture.tolist(), draws.top.tolist(), draws.left.tolist(), draws.mirrored.tolist(), strict=True
    ):
        window = padded[i][top : top + height][:, left : left + width]
        expected.append(window.flip(1) if mirrored else window)

    assert torch.equal(crop(padded, draws, pad=pad), torch.stack(expected))


def test_draws_cover_every_offset_and_both_directions() -> None:
    draws = draw_epoch(2000, pad=3, flip=True, batch_size=10, seed=0, epoch=0)
    assert torch.equal(draws.picture.sort().values, torch.arange(2000))
    for offset in (draws.top, draws.left):
        counts = torch.bincount(offset, minlength=7)
        assert len(counts) == 7
        assert counts.min() > 200  # 286 each on average
    assert not torch.equal(draws.top, draws.left)
    assert 0.45 < draws.mirrored.float().mean() < 0.55


def test_no_padding_and_no_mirroring_leave_pictures_as_they_are() -> None:
    pictures = torch.randint(256, (6, 4, 4, 3), dtype=torch.uint8)
    draws = draw_epoch(6, pad=0, flip=False, batch_size=6, seed=3, epoch=1)
    assert torch.equal(crop(pictures, draws, pad=0), pictures[draws.picture])


def test_each_purpose_has_its_own_draws() -> None:
    with_crop = draw_epoch(50, pad=4, flip=True, batch_size=10, seed=5, epoch=1)
    without = draw_epoch(50, pad=0, flip=True, batch_size=10, seed=5, epoch=1)
    assert torch.equal(with_crop.picture, without.picture)
    assert torch.equal(with_crop.mirrored, without.mirrored)


def test_fewer_pictures_than_a_batch() -> None:
    with pytest.raises(DataError, match=r"batch_size 8: the training split has 7 pictures"):
        draw_epoch(7, pad=0, flip=False, batch_size=8, seed=0, epoch=0)
