"""Checkpoints: whole or not there, found by digest, and never lost to a full disk or a kill."""

import errno
import hashlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from namprune.errors import RunError
from namprune.runs import Checkpoints

STATE = {"model": b"weights" * 100, "progress.json": b"{}"}

KILLS = """
import os, pathlib, random, signal, sys, time
from namprune.runs import Checkpoints

def save(number):
    checkpoints.save({name: bytes([number % 256]) * 500_000 for name in ("model", "training")})

checkpoints, rng = Checkpoints(pathlib.Path(sys.argv[1])), random.Random(0)
save(1)
before = 1
for _ in range(int(sys.argv[2])):
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        for number in range(before + 1, 1000):
            save(number)
            os.write(writer, b".")
    time.sleep(rng.uniform(0, 0.06))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(writer)
    acknowledged = before + len(os.read(reader, 1000))
    newest, broken = checkpoints.newest()
    assert newest.number in (acknowledged, acknowledged + 1), (newest, acknowledged)
    assert broken == (), broken
    assert {*newest.read("model"), *newest.read("training")} == {newest.number % 256}
    before = newest.number
print(before)
"""


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoint")


def names(checkpoints: Checkpoints) -> list[str]:
    return sorted(os.listdir(checkpoints.path))  # noqa: PTH208 - hidden litter would show here, too


def newest_number(checkpoints: Checkpoints) -> int | None:
    newest, _ = checkpoints.newest()
    return newest.number if newest else None


def test_the_last_two_stay_and_the_newest_comes_back(checkpoints: Checkpoints) -> None:
    assert checkpoints.newest() == (None, ())
    paths = [checkpoints.save({**STATE, "progress.json": str(i).encode()}) for i in range(4)]
    assert names(checkpoints) == ["000003", "000004"]
    newest, broken = checkpoints.newest()
    assert newest is not None
    assert (newest.path, newest.number, broken) == (paths[-1], 4, ())
    assert newest.read("model") == STATE["model"]
    assert newest.read("progress.json") == b"3"
    digests = json.loads((newest.path / "digests.json").read_text())
    assert digests["files"]["model"] == hashlib.sha256(STATE["model"]).hexdigest()
    with pytest.raises(RunError, match="it has no other"):
        newest.read("other")
    (newest.path / "model").write_bytes(b"weights")
    with pytest.raises(RunError, match="model is not what was written"):
        newest.read("model")
    checkpoints.discard()
    assert not checkpoints.path.exists()


@pytest.mark.parametrize("name", ["model", "progress.json", "digests.json"])
def test_a_flipped_bit_anywhere_is_found(checkpoints: Checkpoints, name: str) -> None:
    checkpoints.save(STATE)
    file = checkpoints.save(STATE) / name
    whole, rng = file.read_bytes(), random.Random(name)
    for _ in range(40):
        flipped = bytearray(whole)
        flipped[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        file.write_bytes(flipped)
        newest, broken = checkpoints.newest()
        assert newest is not None
        assert newest.number == 1
        assert len(broken) == 1
        assert broken[0].startswith(f"checkpoint {file.parent} is broken: ")
    file.write_bytes(whole)
    assert newest_number(checkpoints) == 2


def test_what_is_no_whole_checkpoint_is_passed_over(checkpoints: Checkpoints, tmp_path: Path) -> None:
    checkpoints.save(STATE)
    good = checkpoints.path / "000001"
    (tmp_path / "outside").write_bytes(STATE["model"])
    digest = hashlib.sha256(STATE["model"]).hexdigest()
    for number, files in enumerate(({"../../outside": digest}, {"model": digest}, {"gone": digest}), start=2):
        folder = checkpoints.path / f"{number:06d}"
        folder.mkdir()
        (folder / "digests.json").write_text(json.dumps({"format": 1, "files": files}))
    (checkpoints.path / "000003" / "model").symlink_to(tmp_path / "outside")
    (checkpoints.path / "000005").symlink_to(good)
    (checkpoints.path / "000006").mkdir()
    shutil.copytree(good, checkpoints.path / ".tmp-1-killed")
    shutil.copytree(good, checkpoints.path / "copy")
    newest, broken = checkpoints.newest()
    assert newest is not None
    assert newest.number == 1
    assert [line.split()[1][-1] for line in broken] == ["6", "5", "4", "3", "2"]
    checkpoints.save(STATE)
    assert names(checkpoints) == ["000001", "000007", "copy"]
    assert (tmp_path / "outside").exists()


def test_a_folder_that_is_a_link_is_refused(checkpoints: Checkpoints, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    checkpoints.path.symlink_to(tmp_path / "elsewhere")
    for action in (checkpoints.newest, lambda: checkpoints.save(STATE)):
        with pytest.raises(RunError, match="a link leads elsewhere"):
            action()
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_place_that_refuses_is_one_line_and_costs_nothing(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    checkpoints.save(STATE)
    checkpoints.save(STATE)

    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(RunError) as caught:
        checkpoints.save({"model": bytes(2_000_000)})
    for part in (str(checkpoints.path / "000003"), os.strerror(number), "2.00 MB needed", "free"):
        assert part in caught.value.message
    assert "\n" not in caught.value.message
    assert names(checkpoints) == ["000001", "000002"]
    assert newest_number(checkpoints) == 2


def test_a_file_that_the_system_cuts_off_is_no_checkpoint(checkpoints: Checkpoints) -> None:
    checkpoints.save(STATE)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(RunError, match="File too large"):
            checkpoints.save({"model": bytes(200_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(checkpoints) == ["000001"]


def test_what_the_disk_gives_back_changed_takes_no_other_with_it(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints.save(STATE)
    checkpoints.save(STATE)
    rename = Path.rename

    def tear(path: Path, target: Path) -> Path:
        moved = rename(path, target)
        if (moved / "model").exists():
            (moved / "model").write_bytes(b"torn")
        return moved

    monkeypatch.setattr(Path, "rename", tear)
    with pytest.raises(RunError, match="what was read back differs"):
        checkpoints.save(STATE)
    assert names(checkpoints) == ["000001", "000002"]


def test_all_is_on_the_disk_before_it_has_a_name(checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints.save(STATE)
    final, seen, fsync = checkpoints.path / "000002", [], os.fsync

    def watch(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115 - not a path
        seen.append((path.name if path.is_file() else path.parent.name, final.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    checkpoints.save(STATE)
    inside, parent = checkpoints.path.name, checkpoints.path.parent.name
    assert seen == [*((name, False) for name in (*STATE, "digests.json", inside)), (parent, True)]


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_the_newest_whole(checkpoints: Checkpoints) -> None:
    command = [sys.executable, "-c", KILLS, checkpoints.path, "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    number = int(done.stdout)
    checkpoints.save(STATE)
    assert names(checkpoints) == [f"{number:06d}", f"{number + 1:06d}"]


def test_room_is_looked_for_before_it_is_needed(checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match=r"checkpoint: too little space; 1000000 G?B needed, .* free"):
        checkpoints.check_room(10**15)
    checkpoints.check_room(1)
    assert names(checkpoints) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(RunError, match="too little space"):
        checkpoints.check_room(1_000_500)
    checkpoints.save(STATE)  # what is there will make room
    checkpoints.check_room(1_000_500)


def test_a_place_without_room_for_a_folder_is_said_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Not a directory"):
        Checkpoints(tmp_path / "file" / "checkpoint").check_room(1)


@pytest.mark.parametrize("name", ["../x", "digests.json", ".hidden", "a/b", ""])
def test_a_file_has_a_plain_name(checkpoints: Checkpoints, name: str) -> None:
    with pytest.raises(ValueError, match="no name for a file"):
        checkpoints.save({name: b""})
