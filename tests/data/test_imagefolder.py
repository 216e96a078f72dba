import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from namprune.data import Batch, Data, build_data
from namprune.data.augment import draw_epoch
from namprune.data.imagefolder import load_imagefolder
from namprune.data.streamed import StreamedImages
from namprune.data.view import RandomView
from namprune.errors import DataError
from namprune.recipe.data import DataSection

CPU = torch.device("cpu")
SIZES = ((40, 24), (24, 40), (17, 17), (64, 33))
SUFFIXES = ("png", "jpg", "bmp", "webp", "JPEG")


def _write(file: Path, seed: int) -> None:
    width, height = SIZES[seed % len(SIZES)]
    pixels = np.random.default_rng(seed).integers(256, size=(height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes, 10 training and 4 test pictures each, of several sizes and formats."""
    for split, count in (("train", 10), ("test", 4)):
        for seed, name in enumerate(("cat", "dog")):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                _write(folder / f"{i}.{SUFFIXES[i % len(SUFFIXES)]}", 100 * seed + i)
            (folder / ".hidden.png").write_text("not a picture")
            (folder / "notes.txt").write_text("not a picture")
    return tmp_path


def _load(
    root: Path,
    *,
    resident: bool | None = None,
    limit: int | None = None,
    workers: int = 0,
    view: RandomView | None = None,
    flip: bool = True,
) -> Data:
    return load_imagefolder(
        root,
        side=16,
        limit=limit,
        val_fraction=0.2,
        pad=0 if view else 2,
        flip=flip,
        device=CPU,
        view=view,
        resident=resident,
        workers=workers,
    )


def test_splits_and_shapes(root: Path) -> None:
    data = build_data(DataSection(name="imagefolder", root=str(root), image_size=16), device=CPU)
    assert data.classes == ("cat", "dog")
    assert data.input_shape == (3, 16, 16)
    assert (len(data.train), len(data.val), len(data.test)) == (18, 2, 8)
    pictures, labels = next(data.train.shuffled(batch_size=8, seed=0, epoch=0))
    assert pictures.shape == (8, 3, 16, 16)
    assert pictures.is_contiguous(memory_format=torch.channels_last)
    assert labels.dtype == torch.int64


def test_pictures_equal_a_resize_by_hand(root: Path) -> None:
    pictures, labels = next(_load(root).test.ordered(batch_size=8))
    assert labels.tolist() == [0] * 4 + [1] * 4
    with Image.open(root / "test" / "cat" / "0.png") as picture:  # 40x24
        middle = picture.resize((26, 16), Image.Resampling.BILINEAR).crop((5, 0, 21, 16))
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = torch.from_numpy((np.asarray(middle) / 255 - mean) / std).permute(2, 0, 1).float()
    torch.testing.assert_close(pictures[0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_streamed_equals_resident_to_the_bit(root: Path, workers: int) -> None:
    resident, streamed = _load(root, resident=True), _load(root, resident=False, workers=workers)
    next(streamed.train.shuffled(batch_size=4, seed=9, epoch=9))  # left unfinished
    for epoch in (0, 1):
        pairs = zip(
            resident.train.shuffled(batch_size=4, seed=1, epoch=epoch),
            streamed.train.shuffled(batch_size=4, seed=1, epoch=epoch),
            strict=True,
        )
        for (x, y), (x_streamed, y_streamed) in pairs:
            assert torch.equal(x, x_streamed)
            assert torch.equal(y, y_streamed)
            assert x.stride() == x_streamed.stride()
    for name in ("train", "val", "test"):
        for (x, y), (x_streamed, y_streamed) in zip(
            getattr(resident, name).ordered(batch_size=3),
            getattr(streamed, name).ordered(batch_size=3),
            strict=True,
        ):
            assert torch.equal(x, x_streamed)
            assert torch.equal(y, y_streamed)


def test_streaming_leaves_the_global_generator_alone(root: Path) -> None:
    streamed = _load(root, resident=False)
    before = torch.get_rng_state()
    list(streamed.train.shuffled(batch_size=4, seed=0, epoch=0))
    assert torch.equal(before, torch.get_rng_state())


RESIZED = RandomView(side=16, crop="resized", least=0.3, augment="randaugment")


def _epoch(data: Data, *, epoch: int = 0, **options: Any) -> list[Batch]:
    return list(data.train.shuffled(batch_size=4, seed=1, epoch=epoch, **options))


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_views_are_the_same_from_any_start_in_any_part_by_any_workers(root: Path, workers: int) -> None:
    whole = _epoch(_load(root, view=RESIZED))
    assert len(whole) == 4
    data = _load(root, view=RESIZED, workers=workers)
    late = _epoch(data, start=2)
    halves = [_epoch(data, part=(i, 2)) for i in range(2)]
    joined = [tuple(torch.cat(both) for both in zip(*parts, strict=True)) for parts in zip(*halves, strict=True)]
    for (x, y), (x_again, y_again) in zip([*whole[2:], *whole], [*late, *joined], strict=True):
        assert torch.equal(x, x_again)
        assert torch.equal(y, y_again)


def test_views_differ_between_epochs_and_show_the_same_pictures(root: Path) -> None:
    data = _load(root, view=RESIZED, flip=False)
    first, again, other = ({one.numpy().tobytes() for x, _ in _epoch(data, epoch=e) for one in x} for e in (0, 0, 1))
    assert first == again
    assert not first & other
    assert sum(int(y.sum()) for _, y in _epoch(data)) == sum(int(y.sum()) for _, y in _epoch(_load(root)))


def test_views_are_mirrored_as_drawn(root: Path) -> None:
    view = RandomView(side=16, crop="resized", least=0.3, augment="none")
    plain, mirrored = (torch.cat([x for x, _ in _epoch(_load(root, view=view, flip=f))]) for f in (False, True))
    flips = draw_epoch(18, pad=0, flip=True, batch_size=4, seed=1, epoch=0).mirrored[:16]
    assert 0 < flips.sum() < 16
    assert torch.equal(mirrored, torch.where(flips[:, None, None, None], plain.flip(3), plain))


def test_only_training_pictures_are_drawn_and_all_others_as_ever(root: Path) -> None:
    plain, drawn = _load(root), _load(root, view=RESIZED)
    kinds = [type(split).__name__ for split in (drawn.train, drawn.val, drawn.test)]
    assert kinds == ["StreamedImages", "ResidentImages", "ResidentImages"]
    assert drawn.digest == _load(root, resident=False).digest == plain.digest
    for name in ("train", "val", "test"):
        pairs = zip(getattr(plain, name).ordered(batch_size=4), getattr(drawn, name).ordered(batch_size=4), strict=True)
        assert all(torch.equal(one, other) for pair in pairs for one, other in zip(*pair, strict=True))


@pytest.mark.parametrize(
    ("keys", "pad", "drawn"),
    [
        ({}, 4, False),
        ({"crop": "resized", "crop_scale": 0.5, "pad": 3}, 0, True),
        ({"augment": "randaugment", "pad": 3}, 3, True),
    ],
)
def test_a_recipe_says_what_is_shown(root: Path, keys: dict[str, Any], pad: int, drawn: bool) -> None:
    section = DataSection(name="imagefolder", root=str(root), image_size=16, **keys)
    train = build_data(section, device=CPU).train
    assert (train.pad, isinstance(train, StreamedImages)) == (pad, drawn)
    if drawn:
        view, expected = train.loader.dataset.view, (section.crop, section.crop_scale, section.augment)
        assert (view.crop, view.least, view.augment) == expected


def test_streamed_digest_feels_a_name_and_a_size(root: Path) -> None:
    first = _load(root, resident=False).digest
    assert _load(root, resident=False).digest == first
    file = root / "train" / "dog" / "0.png"
    file.write_bytes(file.read_bytes() + b"x")
    second = _load(root, resident=False).digest
    file.rename(file.with_name("00.png"))
    assert len({first, second, _load(root, resident=False).digest}) == 3


@pytest.mark.parametrize("other", ["val", "test"])
def test_the_only_other_folder_is_the_test_set(root: Path, other: str) -> None:
    (root / "test").rename(root / other)
    data = _load(root)
    assert (len(data.train), len(data.val), len(data.test)) == (16, 4, 8)


def test_three_folders_are_used_as_they_are(root: Path) -> None:
    shutil.copytree(root / "test", root / "val")
    (root / "val" / "cat" / "0.png").unlink()
    data = _load(root)
    assert (len(data.train), len(data.val), len(data.test)) == (20, 7, 8)
    data = _load(root, limit=6)
    assert (len(data.train), len(data.val), len(data.test)) == (6, 6, 6)


def _bomb(file: Path, side: int) -> None:
    """A PNG of a few bytes whose header claims side x side pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def _spoil(file: Path, how: str) -> None:
    if how == "truncated":
        file.write_bytes(file.read_bytes()[:300])
    elif how == "text":
        file.write_text("no picture at all")
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "folder":
        file.unlink()
        file.mkdir()
    elif how == "16 bit":
        Image.fromarray(np.full((20, 20), 4000, dtype=np.uint16)).save(file)
    elif how == "thin":
        Image.new("L", (1, 200_000)).save(file)
    else:
        _bomb(file, int(how))


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("how", ["truncated", "text", "empty", "folder", "16 bit", "thin", "7000", "11000", "20000"])
def test_an_unusable_picture_is_named(root: Path, how: str, resident: bool) -> None:
    file = root / "test" / "dog" / "0.png"
    _spoil(file, how)
    with pytest.raises(DataError, match=f"pictures cannot be used: {file} ") as raised:
        list(_load(root, resident=resident).test.ordered(batch_size=8))
    assert "\n" not in raised.value.message


@pytest.mark.slow
def test_a_fault_in_a_worker_is_one_line(root: Path) -> None:
    """Of a file that was spoilt after it was checked."""
    data = _load(root, resident=False, workers=1)
    file = root / "test" / "dog" / "0.png"
    _spoil(file, "text")
    with pytest.raises(DataError, match=rf"\A1 of 8 pictures cannot be used: {file} [^\n]*\Z"):
        list(data.test.ordered(batch_size=8))


def test_several_unusable_pictures_are_counted(root: Path) -> None:
    for i, suffix in enumerate(SUFFIXES[:4]):
        _spoil(root / "test" / "cat" / f"{i}.{suffix}", "text")
    with pytest.raises(DataError, match=r"4 of 8 pictures cannot be used: .*0\.png .* and 1 more$"):
        _load(root)


def _drop(root: Path, *names: str) -> None:
    for name in names:
        shutil.rmtree(root / name)


@pytest.mark.parametrize(
    ("drop", "add", "message"),
    [
        (["train"], [], "no folder train/ there"),
        (["test"], [], "no folder val/ or test/ there"),
        (["train/dog", "test/dog"], [], "1 class folders, at least 2 are needed"),
        (["train/dog", "train/cat"], [], "0 class folders, at least 2 are needed"),
        (["test/dog"], [], "class folders of train and test differ: 'dog' is in train alone"),
        ([], ["test/emu", "test/fox"], "'emu' is in test alone, 1 more differ"),
        ([], ["train/emu", "test/emu"], "train/emu: no pictures in this class folder"),
    ],
)
def test_a_layout_that_does_not_hold(root: Path, drop: list[str], add: list[str], message: str) -> None:
    _drop(root, *drop)
    for name in add:
        (root / name).mkdir()
    with pytest.raises(DataError, match=message) as raised:
        _load(root)
    assert raised.value.hint


def test_a_missing_root(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"imagefolder {tmp_path / 'none'}: no such folder"):
        _load(tmp_path / "none")


def test_memory_decides(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(_load(root).train).__name__ == "ResidentImages"
    monkeypatch.setattr("namprune.data.imagefolder.MEMORY_SHARE", 0.0)
    assert type(_load(root).train).__name__ == "StreamedImages"
