"""One's own pictures: folders train, val and test with one folder per class."""

import hashlib
import os
from pathlib import Path
from typing import TypedDict

import torch

from namprune import console
from namprune.data.decode import cores
from namprune.data.folder import Listing, decode_files, list_splits
from namprune.data.images import Data, Images
from namprune.data.inspection import inspect
from namprune.data.normalize import Normalize
from namprune.data.resident import Pictures, ResidentImages
from namprune.data.split import hold_out, limited
from namprune.data.streamed import StreamedImages
from namprune.data.view import RandomView
from namprune.distributed import share
from namprune.recipe.data import DataSection

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, in [0, 1]."""

IMAGE_SIZE = 224

MEMORY_SHARE = 0.25
"""Of the free memory, what decoded pictures may take; a bigger folder is streamed."""


def build_imagefolder(section: DataSection, *, device: torch.device) -> Data:
    """Pictures of shape (3, image_size, image_size), in memory where they fit and are not drawn anew each time."""
    side = section.image_size or IMAGE_SIZE
    view = RandomView(side=side, crop=section.crop, least=section.crop_scale, augment=section.augment)
    return load_imagefolder(
        Path(section.root or "data/imagefolder"),
        side=side,
        limit=section.limit,
        val_fraction=section.val_fraction,
        pad=section.pad if section.crop == "pad" else 0,
        flip=section.flip,
        view=view if section.crop == "resized" or section.augment != "none" else None,
        device=device,
    )


def load_imagefolder(
    root: Path,
    *,
    side: int,
    limit: int | None,
    val_fraction: float,
    pad: int,
    flip: bool,
    device: torch.device,
    view: RandomView | None = None,
    resident: bool | None = None,
    workers: int | None = None,
) -> Data:
    """Pictures under `root`. If only one of val and test exists, it is the test set; val is split off train.

    `view`: how training pictures are shown, which are then decoded anew in each epoch. `resident`: whether all others
    are kept in memory; by default if they fit. `workers`: processes that decode what is not kept.

    Raises:
        DataError: a layout that does not hold, or a picture that cannot be read.
    """
    found, classes = list_splits(root)
    splits = _divide(found, classes, limit=limit, val_fraction=val_fraction)
    kept = {name: part for name, part in splits.items() if name != "train" or view is None}
    if resident is None:
        pictures = sum(len(part.files) for part in kept.values())
        resident = pictures * 3 * (side + 2 * pad) ** 2 <= MEMORY_SHARE * _free_bytes(device)
    decoded = _decoded(kept, side=side) if resident else {}
    streamed = ", ".join(sorted(splits.keys() - decoded.keys()))
    console.detail(f"{root}: {f'{streamed} decoded anew each time' if streamed else 'decoded into memory once'}")
    inspect(root, splits, unread=splits.keys() - decoded.keys(), side=side)
    normalize = Normalize(MEAN, STD, device=device)

    def images(name: str) -> Images:
        train = name == "train"
        options: _Options = {"pad": pad * train, "flip": flip and train, "normalize": normalize, "device": device}
        if name in decoded:
            return ResidentImages(decoded[name], **options)
        part, count = splits[name], share(cores()) if workers is None else workers
        drawn = view if train else None
        return StreamedImages(part.files, part.labels, side=side, workers=count, view=drawn, **options)

    return Data(
        train=images("train"),
        val=images("val"),
        test=images("test"),
        label=root.resolve().name,
        classes=classes,
        input_shape=(3, side, side),
        digest=_digest(root, splits),
    )


class _Options(TypedDict):
    """What both kinds of `Images` take."""

    normalize: Normalize
    pad: int
    flip: bool
    device: torch.device


def _divide(
    found: dict[str, Listing], classes: tuple[str, ...], *, limit: int | None, val_fraction: float
) -> dict[str, Listing]:
    """Training, validation and test files, whichever of them have folders of their own."""
    parts = {name: part.take(limited(part.labels, limit)) for name, part in found.items()}
    if len(parts) == 3:
        return parts
    train, test = parts.values()
    kept, held = hold_out(train.labels, fraction=val_fraction, classes=classes, purpose="val")
    return {"train": train.take(kept), "val": train.take(held), "test": test}


def _decoded(splits: dict[str, Listing], *, side: int) -> dict[str, Pictures]:
    with console.progress(sum(len(part.files) for part in splits.values()), "decoding pictures", late=True) as bar:
        return {
            name: Pictures(pixels=decode_files(part.files, side=side, threads=cores(), bar=bar), labels=part.labels)
            for name, part in splits.items()
        }


def _free_bytes(device: torch.device) -> int:
    """Memory free for decoded pictures: they pass through main memory on their way to a GPU."""
    main = available_bytes()
    return min(main, torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else main


def available_bytes() -> int:
    """Main memory that can be had without swapping: free pages alone leave out the page cache, which gives way."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _digest(root: Path, splits: dict[str, Listing]) -> str:
    """SHA-256 over split, relative name, size and label of each file, whether pictures are kept or streamed."""
    digest = hashlib.sha256()
    for name, part in splits.items():
        for file, label in zip(part.files, part.labels.tolist(), strict=True):
            line = f"{name} {file.relative_to(root)} {file.stat().st_size} {label}\n"
            digest.update(os.fsencode(line))  # a name need not be UTF-8
    return digest.hexdigest()
