"""A file is there whole or not at all."""

import os
from pathlib import Path

import pytest

from namprune.errors import RunError
from namprune.runs import write_atomic


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
