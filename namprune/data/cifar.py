"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): from torchvision's files, from parquet files, or downloaded."""

import math
import socket
import tempfile
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch

from namprune import console, signals
from namprune.data.images import Data
from namprune.data.parquet import LAYOUT, find_parquet, read_parquet
from namprune.data.resident import Pictures, resident_data
from namprune.data.split import hold_out, limited
from namprune.errors import DataError
from namprune.recipe.data import DataSection

MEGABYTE = 10**6
TIMEOUT = 20
"""Seconds without an answer after which a download is given up."""


@dataclass(frozen=True, kw_only=True)
class Cifar:
    """What tells the two data sets apart."""

    name: str
    title: str
    torchvision: str
    """Class in `torchvision.datasets`, which pins the digests of the files."""
    folder: str
    """Where torchvision keeps the extracted files, under the root."""
    label: str
    """Label column in the parquet files of the Hugging Face hub."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    classes: tuple[str, ...]


CIFAR10 = Cifar(
    name="cifar10",
    title="CIFAR-10",
    torchvision="CIFAR10",
    folder="cifar-10-batches-py",
    label="label",
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)

_FINE_LABELS = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard
lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear
pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark
shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone
television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""

CIFAR100 = Cifar(
    name="cifar100",
    title="CIFAR-100",
    torchvision="CIFAR100",
    folder="cifar-100-python",
    label="fine_label",
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    classes=tuple(_FINE_LABELS.split()),
)


def build_cifar10(section: DataSection, *, device: torch.device) -> Data:
    """60,000 pictures of shape (3, 32, 32) in 10 classes."""
    return _build(CIFAR10, section, device=device)


def build_cifar100(section: DataSection, *, device: torch.device) -> Data:
    """60,000 pictures of shape (3, 32, 32) in 100 classes."""
    return _build(CIFAR100, section, device=device)


def default_root(cifar: Cifar) -> Path:
    """Where the files are looked for, and downloaded to, when a recipe names no folder."""
    return Path("data") / cifar.name


def _build(cifar: Cifar, section: DataSection, *, device: torch.device) -> Data:
    root = Path(section.root) if section.root else default_root(cifar)
    train, test, classes, label = _read(cifar, root, download=section.download, limit=section.limit)
    console.detail(f"{cifar.name}: read from {root}, {train.pixels.nbytes + test.pixels.nbytes:,} bytes decoded")
    kept, held = hold_out(train.labels, fraction=section.val_fraction, classes=classes, purpose="val")
    return resident_data(
        train=train.take(kept),
        val=train.take(held),
        test=test,
        label=label,
        classes=classes,
        mean=cifar.mean,
        std=cifar.std,
        pad=section.pad,
        flip=section.flip,
        device=device,
    )


def _read(
    cifar: Cifar, root: Path, *, download: bool, limit: int | None
) -> tuple[Pictures, Pictures, tuple[str, ...], str]:
    """Training pictures, test pictures, class names and the name to print, from wherever they are."""
    if root.exists() and not root.is_dir():
        raise _missing(cifar, root, "not a folder")
    files = {split: find_parquet(root, split) for split in ("train", "test")}
    if not (root / cifar.folder).is_dir():
        if all(files.values()):
            train, classes, jpeg = read_parquet(files["train"], label=cifar.label, classes=cifar.classes, limit=limit)
            test, _, _ = read_parquet(files["test"], label=cifar.label, classes=cifar.classes, limit=limit)
            return train, test, classes, f"{cifar.title} (JPEG)" if jpeg else cifar.title
        if not download or not (root.is_dir() or root == default_root(cifar)):
            raise _missing(cifar, root, "no pictures there")
        _download(cifar, root)
    return (
        _read_torchvision(cifar, root, train=True, limit=limit),
        _read_torchvision(cifar, root, train=False, limit=limit),
        cifar.classes,
        cifar.title,
    )


def _read_torchvision(cifar: Cifar, root: Path, *, train: bool, limit: int | None) -> Pictures:
    """Files as torchvision extracts them; it compares their pinned digests before it reads them."""
    try:
        source = _torchvision(cifar)(root, train=train, download=False)
    except RuntimeError as error:
        raise DataError(
            f"{root / cifar.folder}: files are missing or differ from the published ones",
            hint=f"delete {root / cifar.folder} and fetch it again",
        ) from error
    labels = torch.tensor(source.targets, dtype=torch.int64)
    kept = limited(labels, limit)
    return Pictures(pixels=torch.from_numpy(source.data)[kept], labels=labels[kept])


def _download(cifar: Cifar, root: Path) -> None:
    """Fetch and extract with torchvision, beside the root first, so that neither failure nor signal leaves a trace."""
    source = _torchvision(cifar)
    existing = next(folder for folder in (root, *root.parents) if folder.is_dir())
    patience = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(TIMEOUT)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=existing) as staging:
            with signals.at_once():
                _fetch(source.url, Path(staging) / source.filename)
                source(staging, download=True)  # takes it from there, if its digest is the pinned one
            root.mkdir(parents=True, exist_ok=True)
            (Path(staging) / cifar.folder).rename(root / cifar.folder)
    except (OSError, HTTPException, RuntimeError) as error:
        raise _missing(cifar, root, f"no pictures there, and the download failed ({error})") from error
    finally:
        socket.setdefaulttimeout(patience)


def _fetch(url: str, file: Path) -> None:
    with urllib.request.urlopen(url) as answer, file.open("wb") as out:  # noqa: S310 - pinned by torchvision
        length = int(answer.headers["Content-Length"] or 0)
        with console.progress(math.ceil(length / MEGABYTE) or None, f"downloading {file.name} (MB)") as bar:
            while part := answer.read(MEGABYTE):
                out.write(part)
                bar.advance()
        if out.tell() < length:
            raise OSError(f"it ended after {out.tell():,} of {length:,} bytes")


def _torchvision(cifar: Cifar) -> Any:
    """The class of torchvision, imported only when its files are to be read: that takes seconds."""
    from torchvision import datasets

    return getattr(datasets, cifar.torchvision)


def _missing(cifar: Cifar, root: Path, reason: str) -> DataError:
    return DataError(
        f"{cifar.name} in {root}: {reason}",
        hint=f"extract {cifar.folder} of https://www.cs.toronto.edu/~kriz/cifar.html there, or put {LAYOUT} "
        "there, or name another folder with --data PATH",
    )
