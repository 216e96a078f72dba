"""Run folders: whole or not there, named safely, checked by digest."""

import dataclasses
import hashlib
import json
import os
from pathlib import Path

import pytest

from namprune.errors import RunError
from namprune.result import Accuracy, EpochRecord
from namprune.runs import RunStore, write_atomic

HOSTILE = [
    "", ".", "..", "../x", "/abs", "a/b", "a/../../b", "a\\b", "~", "~root", "a\0b", "%2e%2e", "CON", "con.txt",
    "nul", "COM1", "lpt9", "a" * 65, "a..b", "a.", "a ", " a", "-a", ".a", "_a", ";rm", "a;rm -rf", "a\n", "a\tb",
    "a|b", "$x", "\u202eabc", "é", "a\u0301", "a*", "a?", "a:b", "C:", "`x`", "<b>", "[red]",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_refused_and_writes_nothing(store: RunStore, name: str) -> None:
    for action in (lambda: store.create(name, recipe=""), lambda: store.open(name)):
        with pytest.raises(RunError) as caught:
            action()
        assert caught.value.hint
    assert list(store.root.parent.iterdir()) == []


@pytest.mark.parametrize("name", ["a", "resnet20-nam_0.3", "9", "con1", "a" * 64])
def test_a_plain_name_is_taken(store: RunStore, name: str) -> None:
    folder = store.create(name, recipe="seed: 1\n")
    assert folder.path == store.root / name
    assert folder.recipe.read_text() == "seed: 1\n"
    assert os.listdir(folder.path) == ["recipe.yaml"]  # noqa: PTH208 - hidden litter would show here, too


def test_a_taken_name_is_refused_and_the_run_kept(store: RunStore) -> None:
    store.create("a", recipe="first")
    with pytest.raises(RunError, match="already exists") as caught:
        store.create("a", recipe="second")
    assert "a-2" in (caught.value.hint or "")
    assert (store.root / "a" / "recipe.yaml").read_text() == "first"


def test_a_failed_create_leaves_no_folder(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left"):
        store.create("a", recipe="")
    assert list(store.root.iterdir()) == []


def test_a_root_that_is_a_file_is_the_users_fault(store: RunStore) -> None:
    store.root.write_text("")
    with pytest.raises(RunError, match="cannot write"):
        store.create("a", recipe="")


def test_a_link_out_of_the_root_is_refused(store: RunStore, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    store.root.mkdir()
    (store.root / "a").symlink_to(tmp_path / "elsewhere")
    for action in (lambda: store.create("a", recipe=""), lambda: store.open("a")):
        with pytest.raises(RunError, match="leads out"):
            action()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_free_names_count_up_and_stay_short(store: RunStore) -> None:
    assert store.free_name("a") == "a"
    store.create("a", recipe="")
    store.create("a-2", recipe="")
    assert store.free_name("a") == "a-3"
    store.create("b" * 64, recipe="")
    assert store.free_name("b" * 64) == "b" * 62 + "-2"
    assert store.free_name("b" * 64 + "-p30") == "b" * 62 + "-2"
    assert store.unused("a-3") == "a-3"


def test_a_failing_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "model.safetensors"
    write_atomic(target, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"model\.safetensors: No space left"):
        write_atomic(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_rename_comes_after_the_fsync_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, seen = tmp_path / "plan.json", []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        seen.append((os.readlink(f"/proc/self/fd/{descriptor}"), target.exists()))  # noqa: PTH115 - not a path
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    write_atomic(target, "{}")
    (temporary, renamed_early), (folder, renamed) = seen
    assert Path(temporary).parent == tmp_path
    assert not renamed_early
    assert (folder, renamed) == (str(tmp_path), True)


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


def test_a_missing_run_names_its_neighbours(store: RunStore, save, make_result) -> None:
    save(make_result("resnet20"))
    with pytest.raises(RunError, match="no run 'resnet2'") as caught:
        store.open("resnet2")
    assert "resnet20" in (caught.value.hint or "")


def test_the_newest_is_the_last_completed_of_its_kind(store: RunStore, save, make_result, make_pruned) -> None:
    with pytest.raises(RunError, match="no finished train run") as caught:
        store.newest()
    assert "namprune train" in (caught.value.hint or "")
    first = make_result("z", created="2026-01-01T10:00:00+00:00")
    save(first)
    save(make_result("a", created="2026-01-01T11:00:00+00:00"))
    save(make_pruned("p", parent=first, created="2026-01-01T12:00:00+00:00"))
    store.create("unfinished", recipe="")
    broken = save(make_result("broken", created="2026-01-02T00:00:00+00:00"))
    broken.weights.unlink()
    assert store.newest().name == "a"
    assert store.newest(kind="prune").name == "p"
    assert [folder.name for folder in store.folders()] == ["a", "broken", "p", "unfinished", "z"]


def test_folders_that_are_no_runs_are_not_listed(store: RunStore) -> None:
    assert store.folders() == ()
    (store.root / "notes").mkdir(parents=True)
    (store.root / "file.txt").write_text("")
    assert store.folders() == ()
