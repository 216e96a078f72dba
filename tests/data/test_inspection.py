"""What is wrong with a folder of pictures is said before anything relies on it."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from namprune.data import Data
from namprune.data.imagefolder import load_imagefolder
from namprune.data.view import RandomView
from namprune.errors import DataError

SAYS = "can be read (done once)"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "namprune"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """120 pictures to train on and 30 to test on, of each of two classes."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 120), ("test", 30)):
        for name in ("cat", "dog"):
            folder = tmp_path / "pictures" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(draw.integers(256, size=(8, 8, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return tmp_path / "pictures"


def load(root: Path, *, resident: bool = False, view: RandomView | None = None) -> Data:
    keys = {"side": 8, "limit": None, "val_fraction": 0.1, "pad": 0, "flip": False, "device": torch.device("cpu")}
    return load_imagefolder(root, resident=resident, view=view, workers=0, **keys)


def test_one_bad_file_in_300_is_named_before_the_first_batch(root: Path, cache: Path) -> None:
    file = root / "train" / "dog" / "77.png"
    good = file.read_bytes()
    file.write_bytes(good[:-30])
    for _ in range(2):  # a failure is not remembered
        with pytest.raises(DataError, match=rf"^1 of 300 pictures cannot be used: {file} \("):
            load(root)
    file.write_bytes(good)
    load(root)
    assert len([*cache.iterdir()]) == 1


def test_success_is_remembered_until_a_file_changes(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(root)
    assert f"all 300 pictures of {root} {SAYS}" in capsys.readouterr().err
    load(root)
    assert SAYS not in capsys.readouterr().err
    file = root / "test" / "cat" / "3.png"
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    load(root)
    assert SAYS in capsys.readouterr().err
    file.write_bytes(file.read_bytes()[:-40] + b"x" * 40)  # of the same size
    with pytest.raises(DataError, match=rf"^1 of 300 pictures cannot be used: {file} \("):
        load(root)


@pytest.mark.parametrize("fault", ["broken", "unwritable"])
def test_without_a_cache_it_is_only_done_again(
    root: Path, cache: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    if fault == "broken":
        load(root)
        for file in cache.iterdir():
            file.write_text('{"root":')
        capsys.readouterr()
    else:
        cache.parent.write_text("no folder")
    for _ in range(2):
        load(root)
    assert capsys.readouterr().err.count(SAYS) == (1 if fault == "broken" else 2)


def test_pictures_in_memory_were_read_and_are_not_checked_again(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(root, resident=True)
    assert SAYS not in capsys.readouterr().err
    load(root, resident=True, view=RandomView(side=8, crop="resized", least=0.5, augment="none"))
    assert f"all 216 pictures of {root} {SAYS}" in capsys.readouterr().err


def held(root: Path, split: str, name: str, pixel: int) -> Path:
    """A picture whose file ends as all of these do."""
    file = root / split / "cat" / name
    Image.new("RGB", (8, 8), (pixel, 0, 0)).save(file)
    file.write_bytes(file.read_bytes() + bytes(5000))
    return file


@pytest.mark.parametrize("resident", [True, False])
def test_pictures_both_trained_on_and_held_out_are_counted(
    root: Path, capsys: pytest.CaptureFixture[str], resident: bool
) -> None:
    shutil.copytree(root / "test", root / "val")  # these two may share: neither is trained on
    sizes = {held(root, split, "end.bmp", pixel).stat().st_size for pixel, split in enumerate(("train", "val", "test"))}
    assert len(sizes) == 1
    load(root, resident=resident)
    assert "warning" not in capsys.readouterr().err
    for i in range(3):
        shutil.copy(root / "train" / "dog" / f"{i}.png", root / "test" / "dog" / f"other{i}.png")
    for _ in range(2):
        load(root, resident=resident)
        warning = capsys.readouterr().err.splitlines()[-1]
        assert warning.startswith("warning: 3 of 125 pictures held out of training are trained on, too")
        assert f"{root}/test/dog/other0.png" in warning


def test_a_pipe_is_no_picture_and_nobody_waits_for_it(root: Path) -> None:
    file = root / "train" / "cat" / "pipe.png"
    os.mkfifo(file)
    with pytest.raises(DataError, match=rf"{file} \(no regular file\)"):
        load(root)


def test_a_farm_of_links_is_read_as_what_it_links_to(root: Path, tmp_path: Path) -> None:
    farm = tmp_path / "farm"
    for file in root.rglob("*.png"):
        link = farm / file.relative_to(root)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    one, other = (next(load(folder).test.ordered(batch_size=60))[0] for folder in (root, farm))
    assert torch.equal(one, other)
    (farm / "test" / "dog" / "0.png").unlink()
    (farm / "test" / "dog" / "0.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DataError, match=rf"{farm}/test/dog/0.png \(No such file"):
        load(farm)


def test_a_name_that_is_no_text_is_read_but_names_no_class(root: Path) -> None:
    file = root / "test" / "cat" / "0.png"
    file.rename(file.with_name(os.fsdecode(b"\xff.png")))
    assert len(load(root).test) == 60
    for split in ("train", "test"):
        (root / split / "cat").rename(root / split / os.fsdecode(b"\xff"))
    with pytest.raises(DataError, match="the name of a class must be text"):
        load(root)
