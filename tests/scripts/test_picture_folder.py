"""CIFAR-10's parquet files become folders that `imagefolder` reads."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

import namprune
from namprune.data.cifar import CIFAR10
from namprune.data.folder import list_splits

SCRIPT = Path(namprune.__file__).parents[1] / "scripts" / "picture_folder.py"


@pytest.mark.slow
def test_the_first_of_each_class_are_written_as_they_are(tmp_path: Path) -> None:
    source, out = tmp_path / "parquet", tmp_path / "pictures"
    source.mkdir()
    labels = [row * 7 % 10 for row in range(60)]
    encoded = []
    for row in range(60):
        buffer = io.BytesIO()
        Image.fromarray(np.full((32, 32, 3), row, np.uint8)).save(buffer, "JPEG")
        encoded.append(buffer.getvalue())
    table = pa.table({"img": [{"bytes": data, "path": None} for data in encoded], "label": labels})
    for split in ("train", "test"):
        parquet.write_table(table, source / f"{split}-00000-of-00001.parquet")
    command = [sys.executable, SCRIPT, source, out, "--train", "30", "--val", "12"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == [f"30 pictures in {out / 'train'}", f"12 pictures in {out / 'val'}"]
    splits, classes = list_splits(out)
    assert classes == CIFAR10.classes
    assert splits["train"].labels.bincount().tolist() == [3] * 10
    assert splits["val"].labels.bincount().tolist() == [2, 2] + [1] * 8
    for row in (0, 10, 20, 3):
        assert (out / "train" / classes[labels[row]] / f"{row:05}.jpg").read_bytes() == encoded[row]
    again = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (again.returncode, again.stdout) == (2, "")
    assert "exists already" in again.stderr
