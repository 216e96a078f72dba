"""Folders of pictures, one folder per class: found, checked and decoded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from namprune import console
from namprune.data.decode import MAX_PIXELS, decode_all, each_picture, open_rgb
from namprune.errors import DataError
from namprune.signals import poll

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
LAYOUT = "train/<class>/*.jpg and test/<class>/*.jpg (or val/ in its place)"


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Files of one split, by class and then by name, and their labels, int64 (N,)."""

    files: tuple[Path, ...]
    labels: Tensor

    def take(self, index: Tensor) -> "Listing":
        """The files at `index`."""
        return Listing(files=tuple(self.files[i] for i in index.tolist()), labels=self.labels[index])


def list_splits(root: Path) -> tuple[dict[str, Listing], tuple[str, ...]]:
    """The splits train, val and test of a root, as far as they are there, and the class names.

    Raises:
        DataError: no train, neither val nor test, fewer than two classes, classes that differ between the
            splits, or a class without pictures.
    """
    present = [split for split in ("train", "val", "test") if (root / split).is_dir()]
    if "train" not in present or len(present) < 2:
        lacking = "train/" if "train" not in present else "val/ or test/"
        raise DataError(
            f"imagefolder {root}: " + (f"no folder {lacking} there" if root.is_dir() else "no such folder"),
            hint=f"the folder must hold {LAYOUT}; name it with --data PATH",
        )
    classes = _classes(root / "train")
    if len(classes) < 2:
        raise DataError(
            f"{root / 'train'}: {len(classes)} class folders, at least 2 are needed",
            hint=f"the folder must hold {LAYOUT}",
        )
    for split in present[1:]:
        if differing := sorted(set(classes) ^ set(_classes(root / split))):
            side = "train" if differing[0] in classes else split
            raise DataError(
                f"{root}: class folders of train and {split} differ: {differing[0]!r} is in {side} alone"
                + (f", {len(differing) - 1} more differ" if len(differing) > 1 else ""),
                hint="give both the same class folders",
            )
    return {split: _list(root / split, classes) for split in present}, classes


Show: TypeAlias = Callable[[int, Image.Image], Image.Image]
"""From the place of a picture in its batch and the whole picture to the square of it that is shown."""


def decode_files(
    files: Sequence[Path],
    *,
    side: int,
    threads: int,
    show: Show | None = None,
    bar: console.Progress | None = None,
) -> Tensor:
    """Decode to uint8 (N, side, side, 3): what `show` gives, else its centre, the shorter side resized (antialiased).

    Raises:
        DataError: naming the files that cannot be read.
    """
    from torchvision.transforms.v2 import functional

    def decode(i: int) -> NDArray[np.uint8]:
        picture = _open(files[i], side=side)
        if show:
            return np.asarray(show(i, picture))
        picture = functional.resize(picture, [side], antialias=True)
        return np.asarray(functional.center_crop(picture, [side, side]))

    return decode_all(decode, [str(file) for file in files], side=side, threads=threads, bar=bar)


def check_files(files: Sequence[Path], *, side: int, threads: int) -> None:
    """Decode every file and keep none, with a bar.

    Raises:
        DataError: naming the files that `decode_files` could not read.
    """
    with console.progress(len(files), "checking pictures") as bar:
        names = [str(file) for file in files]
        each_picture(lambda i: _open(files[i], side=side), names, threads=threads, bar=bar)


def _open(file: Path, *, side: int) -> Image.Image:
    picture = open_rgb(file, formats=FORMATS)
    if max(picture.size) * side**2 > MAX_PIXELS * min(picture.size):
        raise ValueError(f"{picture.width}x{picture.height} pixels, too long and thin to be resized")
    return picture


def _classes(split: Path) -> tuple[str, ...]:
    names = tuple(sorted(entry.name for entry in _visible(split) if entry.is_dir()))
    for name in names:
        if any("\ud800" <= letter <= "\udfff" for letter in name):  # bytes that are no UTF-8
            raise DataError(f"{split / name}: the name of a class must be text", hint="rename the folder")
    return names


def _list(split: Path, classes: tuple[str, ...]) -> Listing:
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        poll()
        found = sorted(file for file in _visible(split / name) if file.suffix.lower() in SUFFIXES)
        if not found:
            raise DataError(
                f"{split / name}: no pictures in this class folder",
                hint=f"put {', '.join(sorted(SUFFIXES))} files there, or remove the class from every split",
            )
        files += found
        labels += [label] * len(found)
    return Listing(files=tuple(files), labels=torch.tensor(labels, dtype=torch.int64))


def _visible(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
