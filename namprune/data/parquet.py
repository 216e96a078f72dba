"""CIFAR as parquet files of encoded pictures, the layout of the Hugging Face hub."""

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from namprune import console
from namprune.data.decode import cores, decode_all, open_rgb
from namprune.data.resident import Pictures
from namprune.data.split import limited
from namprune.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

SIDE = 32
JPEG_START = b"\xff\xd8"

LAYOUT = "train-*.parquet and test-*.parquet with an image column and a label column"


def find_parquet(root: Path, split: str) -> list[Path]:
    """The files of a split, in the folder or one level below."""
    return sorted(root.glob(f"{split}-*.parquet")) or sorted(root.glob(f"*/{split}-*.parquet"))


def read_parquet(
    files: list[Path], *, label: str, classes: tuple[str, ...], limit: int | None
) -> tuple[Pictures, tuple[str, ...], bool]:
    """Pictures, decoded as far as `limit` keeps them, the class names (the files' own, else `classes`), and whether
    there are JPEGs among them: CIFAR is published uncompressed, so those have been through a lossy step.

    `label` is the name of the label column where there is none called `label`.

    Raises:
        DataError: not parquet, foreign columns or labels, or a picture that is not 32x32 JPEG or PNG.
    """
    table = _read_table(files)
    source = f"{files[0].parent}/{files[0].name.split('-')[0]}-*.parquet"
    image = _column(table, ("img", "image"), source)
    label = _column(table, (label, "label"), source)
    labels = _labels(table, label, count=len(classes), source=source)
    kept = limited(labels, limit)
    encoded = [_bytes(cell) for cell in table[image].take(kept.numpy()).to_pylist()]

    def decode(i: int) -> NDArray[np.uint8]:
        picture = open_rgb(io.BytesIO(encoded[i]), formats=("JPEG", "PNG"))
        if picture.size != (SIDE, SIDE):
            raise ValueError(f"{picture.width}x{picture.height} pixels, not {SIDE}x{SIDE}")
        return np.asarray(picture)

    names = [f"row {row} of {source}" for row in kept.tolist()]
    with console.progress(len(kept), "decoding pictures", late=True) as bar:
        pixels = decode_all(decode, names, side=SIDE, threads=cores(), bar=bar)
    pictures = Pictures(pixels=pixels, labels=labels[kept])
    return pictures, _class_names(table, label, classes), any(cell[:2] == JPEG_START for cell in encoded)


def _read_table(files: list[Path]) -> "pa.Table":
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return pa.concat_tables([parquet.read_table(file) for file in files])
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{files[0].parent}: cannot be read as parquet ({reason})", hint="fetch the files again"
        ) from error


def _column(table: "pa.Table", names: tuple[str, ...], source: str) -> str:
    """The first of `names` that the table has."""
    for name in names:
        if name in table.column_names:
            return name
    raise DataError(
        f"{source}: no column {' or '.join(names)}, there are {', '.join(table.column_names)}",
        hint=f"the folder must hold {LAYOUT}",
    )


def _labels(table: "pa.Table", column: str, *, count: int, source: str) -> Tensor:
    labels = table[column].to_pylist()
    for row, label in enumerate(labels):
        if not (isinstance(label, int) and 0 <= label < count):
            raise DataError(
                f"{source}: {column} {label!r} in row {row}, expected an integer from 0 to {count - 1}",
                hint="check that data.name says what the files hold",
            )
    return torch.tensor(labels, dtype=torch.int64)


def _bytes(cell: Any) -> bytes:
    """The encoded picture in a cell `{bytes, path}`; where there is none, nothing, which decoding refuses."""
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    return content if isinstance(content, bytes) else b""


def _class_names(table: "pa.Table", column: str, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Names from the metadata of the schema, else `classes`."""
    try:
        features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
        names = tuple(map(str, features[column]["names"]))
    except (KeyError, TypeError, ValueError):
        return classes
    return names if len(names) == len(classes) else classes
