"""Turn the parquet files of CIFAR-10 into a folder of pictures, one folder per class, for `data.name: imagefolder`.

python scripts/picture_folder.py PARQUET_FOLDER OUT [--train N] [--val N]

The training set becomes OUT/train, the test set OUT/val: the first N of each, evenly over the classes. The files are
the bytes in the parquet, named by their row.
"""

import argparse
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from namprune.data.cifar import CIFAR10
from namprune.data.parquet import JPEG_START, LAYOUT, find_parquet


def write_split(table: pa.Table, folder: Path, *, pictures: int | None) -> int:
    """Write `pictures` of a table, or all; their number."""
    names = set(table.column_names)
    (image,), (label,) = names & {"img", "image"}, names & {"label"}
    classes = CIFAR10.classes
    most = [len(table)] * len(classes)
    if pictures is not None:  # where they cannot be even, the first classes have one more
        most = [len(range(number, pictures, len(classes))) for number in range(len(classes))]
    for name in classes:
        (folder / name).mkdir(parents=True)
    written = [0] * len(classes)
    for row, (cell, number) in enumerate(zip(table[image].to_pylist(), table[label].to_pylist(), strict=True)):
        if written[number] < most[number]:
            suffix = "jpg" if cell["bytes"].startswith(JPEG_START) else "png"
            (folder / classes[number] / f"{row:05}.{suffix}").write_bytes(cell["bytes"])
            written[number] += 1
    return sum(written)


def main() -> None:
    """Write both splits into a folder that is not there yet."""
    parser = argparse.ArgumentParser(description="CIFAR-10's parquet files as a folder of pictures.")
    parser.add_argument("source", type=Path, metavar="PARQUET_FOLDER", help=f"it holds {LAYOUT}")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--train", type=int, metavar="N", help="at most so many pictures to train on; default: all")
    parser.add_argument("--val", type=int, metavar="N", help="and so many to validate on")
    arguments = parser.parse_args()
    if arguments.out.exists():
        parser.error(f"{arguments.out} exists already")
    files = {"train": find_parquet(arguments.source, "train"), "val": find_parquet(arguments.source, "test")}
    if not all(files.values()):
        parser.error(f"{arguments.source}: there must be {LAYOUT}")
    for split, pictures in (("train", arguments.train), ("val", arguments.val)):
        table = pa.concat_tables([parquet.read_table(file) for file in files[split]])
        count = write_split(table, arguments.out / split, pictures=pictures)
        print(f"{count:,} pictures in {arguments.out / split}")


if __name__ == "__main__":
    main()
