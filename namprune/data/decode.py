"""Decoding of JPEG, PNG, WebP and BMP files that nobody has checked yet."""

import os
import stat
import struct
import warnings
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from namprune import console
from namprune.errors import DataError
from namprune.signals import poll

MAX_PIXELS = 40_000_000
"""A larger picture is refused: a few kilobytes can unpack to gigabytes."""

CHUNK = 32
"""Pictures per job of the thread pool."""

NAMED = 3
"""Faulty files that an error names."""

Decode = Callable[[int], NDArray[np.uint8]]
"""From the number of a picture to its pixels, uint8 (H, W, 3)."""

_UNREADABLE = (
    OSError,
    SyntaxError,  # how Pillow reports a broken PNG
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


def open_rgb(file: Path | IO[bytes], *, formats: tuple[str, ...]) -> Image.Image:
    """Decode one picture to 8-bit RGB. An alpha channel is dropped, EXIF orientation is not applied.

    Raises:
        ValueError: more than 40 megapixels, more than 8 bits per channel, or no regular file.
        OSError: or another of Pillow's errors: not a picture of these formats, or a broken one.
    """
    if isinstance(file, Path) and not stat.S_ISREG(file.stat().st_mode):
        raise ValueError("no regular file")  # to open a pipe would wait for its writer
    with Image.open(file, formats=formats) as picture:
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise ValueError(f"{width}x{height} pixels, at most {MAX_PIXELS // 10**6} megapixels are read")
        if picture.mode.startswith(("I", "F")):
            raise ValueError(f"mode {picture.mode}: only 8 bits per channel are read")
        return picture.convert("RGB")


def decode_all(
    decode: Decode, names: Sequence[str], *, side: int, threads: int, bar: console.Progress | None = None
) -> Tensor:
    """Decode the pictures 0, 1, ... called `names` to uint8 (N, side, side, 3).

    Raises:
        DataError: naming the pictures that cannot be read, with the reason.
    """
    pixels = np.empty((len(names), side, side, 3), dtype=np.uint8)

    def fill(i: int) -> None:
        pixels[i] = decode(i)

    each_picture(fill, names, threads=threads, bar=bar)
    return torch.from_numpy(pixels)


def each_picture(
    read: Callable[[int], object], names: Sequence[str], *, threads: int, bar: console.Progress | None = None
) -> None:
    """Call `read` for the pictures 0, 1, ... called `names`.

    Raises:
        DataError: naming the pictures that cannot be read, with the reason.
    """

    def read_some(start: int) -> list[str]:
        faults = []
        chunk = range(start, min(start + CHUNK, len(names)))
        for i in chunk:
            poll()
            try:
                read(i)
            except _UNREADABLE as error:
                faults.append(f"{' '.join(names[i].splitlines())} ({_reason(error)})")
        if bar:  # for each picture of CIFAR alone it would take a tenth of the time
            bar.advance(len(chunk))
        return faults

    # The filters of `warnings` are one per process: set here, around the threads, not inside them.
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        faults = [fault for found in pool.map(read_some, range(0, len(names), CHUNK)) for fault in found]
    if faults:
        more = f" and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
        raise DataError(
            f"{len(faults)} of {len(names)} pictures cannot be used: {', '.join(faults[:NAMED])}{more}",
            hint="replace or remove them",
        )


def _reason(error: Exception) -> str:
    """Why a picture cannot be read, without the path that some messages repeat."""
    if isinstance(error, UnidentifiedImageError):
        return "not a picture of a known format"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)


def cores() -> int:
    """Processor cores that this process may use, at most 8: more do not decode faster."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, usable)
