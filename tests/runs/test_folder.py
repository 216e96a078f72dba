"""A run on disk: complete or said not to be, and checked by digest."""

import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from namprune.errors import RunError
from namprune.result import Accuracy, EpochRecord
from namprune.runs import RunStore


def test_a_finished_run_comes_back_with_its_digests(store: RunStore, make_result) -> None:
    folder = store.create("a", recipe="seed: 0\n")
    folder.write("model.safetensors", b"weights")
    accuracy = Accuracy(top1=0.5, top5=0.9, loss=1.0, images=10)
    record = EpochRecord(
        phase="train", epoch=1, epochs=2, loss=1.0, accuracy=0.4, val=accuracy, lr=0.1,
        seconds=2.0, images_per_second=50.0, gamma=None,
    )  # fmt: skip
    folder.append(folder.metrics, dataclasses.asdict(record))
    folder.append(folder.metrics, dataclasses.asdict(record))
    assert folder.state() == "unfinished"
    finished = folder.finish(make_result("a"))
    assert [json.loads(line)["val"]["top1"] for line in folder.metrics.read_text().splitlines()] == [0.5, 0.5]
    assert finished.files.keys() == {"recipe.yaml", "model.safetensors", "metrics.jsonl"}
    assert finished.files["model.safetensors"] == hashlib.sha256(b"weights").hexdigest()
    assert store.open("a").result() == finished
    folder.verify()


@pytest.mark.parametrize("file", ["recipe.yaml", "model.safetensors", "plan.json"])
def test_a_changed_byte_is_found(store: RunStore, make_result, file: str) -> None:
    folder = store.create("a", recipe="seed: 0\n")
    folder.write(folder.weights, b"weights")
    folder.write(folder.plan, "{}")
    folder.finish(make_result("a"))
    content = bytearray((folder.path / file).read_bytes())
    content[0] ^= 1
    (folder.path / file).write_bytes(content)
    with pytest.raises(RunError, match=file):
        folder.verify()
    (folder.path / file).unlink()
    assert folder.state() == "broken"
    with pytest.raises(RunError, match=f"{file} is missing"):
        store.open("a")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "not JSON"),
        ('{"format": 99}', "format 99"),
        ("[]", "format None"),
        ('{"format": 1, "name": 3}', "RunResult.attention: missing"),
        ("\udcff", "cannot be read"),
    ],
)
def test_a_broken_result_is_refused_with_the_reason(store: RunStore, text: str, fault: str) -> None:
    folder = store.create("a", recipe="")
    folder.result_file.write_bytes(text.encode(errors="surrogateescape"))
    assert folder.state() == "broken"
    assert fault in (folder.problem() or "")
    with pytest.raises(RunError, match=fault):
        store.open("a")


def test_a_copied_run_is_no_second_run(store: RunStore, save, make_result) -> None:
    folder = save(make_result("a"))
    folder.path.rename(store.root / "b")
    with pytest.raises(RunError, match="belongs to run 'a'"):
        store.open("b")


def test_a_run_knows_what_it_began_as(store: RunStore, make_start) -> None:
    began = make_start("prune", parent="dense")
    folder = store.create("a", recipe="seed: 0\n", start=began)
    assert folder.start() == began
    tree = json.loads(folder.start_file.read_text())
    assert (tree["kind"], tree["parent"], tree["environment"]["threads"]) == ("prune", "dense", 1)


@pytest.mark.parametrize(
    ("text", "fault"), [(None, "missing"), (b"{", "not JSON"), (b'{"kind": "x"}', "Start"), (b"\xff", "cannot be read")]
)
def test_a_start_that_cannot_be_read_is_said_to_be_so(store: RunStore, text: bytes | None, fault: str) -> None:
    folder = store.create("a", recipe="")
    if text is not None:
        folder.start_file.write_bytes(text)
    with pytest.raises(RunError, match=rf"'a' is broken.*{fault}"):
        folder.start()
    assert folder.begun_as() is None


@pytest.mark.parametrize(("kind", "command"), [("train", "train"), ("prune", "prune"), ("scratch", "train")])
def test_an_unfinished_run_says_what_goes_on_with_it(
    tmp_path: Path, make_start, kind: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for store, where in ((RunStore(Path("runs")), ""), (RunStore(Path("my runs")), " --runs 'my runs'")):
        folder = store.create("a", recipe="", start=make_start(kind))
        with pytest.raises(RunError, match="unfinished") as caught:
            folder.result()
        assert caught.value.hint == f"`namprune {command} --resume a{where}` goes on with it"
    with pytest.raises(RunError) as caught:
        store.create("b", recipe="").result()
    assert "run it again" in (caught.value.hint or "")


def test_a_finished_run_keeps_no_checkpoints(save, store: RunStore, make_result) -> None:
    folder = store.create("a", recipe="")
    folder.write(folder.weights, b"weights")
    folder.checkpoints.save({"model": b"weights"})
    folder.finish(make_result("a"))
    files = ["model.safetensors", "recipe.yaml", "result.json"]
    assert sorted(path.name for path in folder.path.iterdir()) == files
    folder.checkpoints.save({"model": b"weights"})  # as if it had been killed before they were gone
    store.open("a")
    assert sorted(path.name for path in folder.path.iterdir()) == files


def test_what_a_kill_left_half_written_goes_with_the_next_sitting(store: RunStore) -> None:
    folder = store.create("a", recipe="")
    killed = f"""
import os, pathlib
from namprune.runs import RunFolder
pathlib.Path.replace = lambda *_: os.kill(os.getpid(), 9)
RunFolder(pathlib.Path({str(folder.path)!r})).write("model.safetensors", b"weights")
"""
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == -9
    assert len(list(folder.path.glob(".*.tmp"))) == 1
    with folder.claimed():
        assert sorted(path.name for path in folder.path.iterdir()) == [".lock", "recipe.yaml"]
