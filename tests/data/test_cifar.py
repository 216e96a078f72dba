import gc
import hashlib
import io
import json
import os
import pickle
import signal
import socket
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from torchvision.datasets import CIFAR10

from namprune import signals
from namprune.data import Data, build_data
from namprune.data.split import limited
from namprune.errors import DataError
from namprune.recipe.data import DataSection

CPU = torch.device("cpu")
REAL = Path(__file__).parents[2] / "../shared/data/cifar10"
MEAN = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)
STD = torch.tensor([0.2470, 0.2435, 0.2616]).view(3, 1, 1)

real = pytest.mark.skipif(not REAL.is_dir(), reason="CIFAR-10 is not beside the repository")


def _build(root: Path | None, *, name: str = "cifar10", limit: int | None = None, download: bool = False) -> Data:
    keys = {"name": name, "root": root and str(root), "limit": limit, "download": download}
    section = DataSection.model_validate(keys)
    return build_data(section, device=CPU)


def _png(seed: int, *, side: int = 32, format: str = "PNG") -> bytes:  # noqa: A002 - Pillow's word
    pixels = np.random.default_rng(seed).integers(256, size=(side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format)
    return file.getvalue()


def _write(file: Path, encoded: list[bytes | None], labels: list[int], **names: str) -> None:
    """One parquet file; `names` may rename the columns."""
    file.parent.mkdir(parents=True, exist_ok=True)
    image = pa.array(
        [{"bytes": b, "path": None} for b in encoded], pa.struct({"bytes": pa.binary(), "path": pa.string()})
    )
    table = pa.table({names.get("image", "image"): image, names.get("label", "label"): labels})
    parquet.write_table(table, file)


def _write_both(root: Path, encoded: list[bytes | None], labels: list[int], **names: str) -> None:
    for split in ("train", "test"):
        _write(root / f"{split}-00000-of-00001.parquet", encoded, labels, **names)


@real
def test_real_parquet_equals_pillow() -> None:
    data = _build(REAL, limit=200)
    assert (len(data.train), len(data.val), len(data.test)) == (180, 20, 200)
    assert data.classes[:3] == ("airplane", "automobile", "bird")
    table = parquet.read_table(REAL / "test-00000-of-00001.parquet")
    kept = limited(torch.tensor(table["label"].to_pylist()), 200)
    pictures, labels = next(data.test.ordered(batch_size=200))
    assert torch.bincount(labels).tolist() == [20] * 10
    for ours, label, row in zip(pictures, labels, table.take(kept.numpy()).to_pylist(), strict=True):
        with Image.open(io.BytesIO(row["image"]["bytes"])) as picture:
            pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
        torch.testing.assert_close(ours, (pixels / 255 - MEAN) / STD, atol=1e-6, rtol=1e-6)
        assert label == row["label"]


@pytest.mark.parametrize("where", [".", "plain_text"])
def test_parquet_in_the_root_or_one_level_below(tmp_path: Path, where: str) -> None:
    encoded = [_png(i) for i in range(40)]
    _write_both(tmp_path / where, encoded, [i % 10 for i in range(40)])
    data = _build(tmp_path)
    assert (len(data.train), len(data.val), len(data.test)) == (30, 10, 40)
    pictures, labels = next(data.test.ordered(batch_size=40))
    with Image.open(io.BytesIO(encoded[7])) as picture:
        expected = (torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255 - MEAN) / STD
    torch.testing.assert_close(pictures[7], expected, atol=1e-6, rtol=1e-6)
    assert labels.tolist() == [i % 10 for i in range(40)]


def test_cifar100_parquet_takes_the_fine_labels(tmp_path: Path) -> None:
    _write_both(
        tmp_path,
        [_png(i) for i in range(200)],
        [i % 100 for i in range(200)],
        image="img",
        label="fine_label",
    )
    data = _build(tmp_path, name="cifar100")
    assert len(data.classes) == 100
    assert (len(data.train), len(data.val)) == (100, 100)


def test_class_names_come_from_the_files(tmp_path: Path) -> None:
    names = [f"name{i}" for i in range(10)]
    _write_both(tmp_path, [_png(i) for i in range(20)], [i % 10 for i in range(20)])
    for file in tmp_path.iterdir():
        table = parquet.read_table(file)
        info = {"info": {"features": {"label": {"names": names}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
        parquet.write_table(table, file)
    assert _build(tmp_path).classes == tuple(names)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (_png(0, side=31), r"row 5 of .*train-\*\.parquet \(31x31 pixels, not 32x32\)"),
        (_png(0)[:200], r"row 5 of .*train"),
        (_png(0, format="BMP"), r"row 5 of .*\(not a picture of a known format\)"),
        (None, r"row 5 of .*\(not a picture of a known format\)"),
    ],
    ids=["size", "truncated", "format", "null"],
)
def test_a_bad_picture_is_named_by_its_row(tmp_path: Path, bad: bytes | None, message: str) -> None:
    encoded: list[bytes | None] = [_png(i) for i in range(20)]
    encoded[5] = bad
    _write_both(tmp_path, encoded, [i % 10 for i in range(20)])
    with pytest.raises(DataError, match="1 of 20 pictures cannot be used: " + message):
        _build(tmp_path)


def test_foreign_parquet_is_refused(tmp_path: Path) -> None:
    _write_both(tmp_path, [_png(0)] * 20, list(range(20)))
    with pytest.raises(DataError, match=r"label 10 in row 10, expected an integer from 0 to 9"):
        _build(tmp_path)
    _write_both(tmp_path, [_png(0)] * 20, list(range(20)), image="photo")
    with pytest.raises(DataError, match=r"no column img or image, there are photo, label"):
        _build(tmp_path)
    (tmp_path / "train-00000-of-00001.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"cannot be read as parquet"):
        _build(tmp_path)


@pytest.mark.parametrize("kind", ["missing", "empty", "file", "half"])
def test_missing_data_says_how_to_bring_it(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "root"
    if kind == "file":
        root.write_text("not a folder")
    elif kind == "half":
        _write(root / "train-0.parquet", [_png(0)], [0])
    elif kind == "empty":
        root.mkdir()
    with pytest.raises(DataError, match=f"cifar10 in {root}: not? ") as raised:
        _build(root)
    assert "cifar-10-batches-py" in str(raised.value.hint)
    assert "parquet" in str(raised.value.hint)


def test_a_folder_that_is_not_there_is_no_reason_to_download(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no pictures there$"):
        _build(tmp_path / "typo", download=True)


def test_a_failed_download_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # data/cifar100 under it, where no folder is named
    with socket.socket() as closed:  # a port that nobody listens on
        closed.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{closed.getsockname()[1]}"
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, proxy)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(DataError, match=r"download failed \(.*refused.*\)") as raised:
            _build(None, name="cifar100", download=True)
    assert "\n" not in raised.value.message
    assert "cifar-100-python" in str(raised.value.hint)
    assert list(tmp_path.iterdir()) == []
    assert socket.getdefaulttimeout() is None


class _StopsHalfway(BaseHTTPRequestHandler):
    """A server whose user is interrupted in the middle of the file."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(bytes(50_000))
        os.kill(os.getpid(), signal.SIGTERM)

    def log_message(self, *_: object) -> None:
        pass


# An exception at any place may leave a socket or a file to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_a_signal_ends_a_download_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with HTTPServer(("127.0.0.1", 0), _StopsHalfway) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{server.server_port}/cifar.tar.gz")
        try:
            with signals.graceful(silent=True), pytest.raises(signals.Interrupted, match="SIGTERM"):
                _build(None, download=True)
        finally:
            server.shutdown()
            thread.join()
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def _torchvision_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Files in torchvision's layout, its pinned digests replaced by theirs; returns the test pixels."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    planes = np.random.default_rng(0).integers(256, size=(20, 3072), dtype=np.uint8)
    for name in ("data_batch_1", "test_batch"):
        (folder / name).write_bytes(pickle.dumps({"data": planes, "labels": [i % 10 for i in range(20)]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    digests = {f.name: hashlib.md5(f.read_bytes()).hexdigest() for f in folder.iterdir()}  # noqa: S324 - as pinned
    monkeypatch.setattr(CIFAR10, "train_list", [["data_batch_1", digests["data_batch_1"]]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", digests["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": digests["batches.meta"]})
    return planes.reshape(20, 3, 32, 32)


def test_torchvision_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planes = _torchvision_files(tmp_path, monkeypatch)
    data = _build(tmp_path)
    pictures, labels = next(data.test.ordered(batch_size=20))
    torch.testing.assert_close(pictures, (torch.from_numpy(planes) / 255 - MEAN) / STD, atol=1e-6, rtol=1e-6)
    assert labels.tolist() == [i % 10 for i in range(20)]


def test_changed_torchvision_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _torchvision_files(tmp_path, monkeypatch)
    file = tmp_path / "cifar-10-batches-py" / "test_batch"
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(DataError, match="differ from the published ones"):
        _build(tmp_path)
