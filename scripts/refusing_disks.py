"""Places that cannot be written, before a run and in the middle of it: for check_kills.py."""

import ctypes
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from killing import OVERRIDES, ended, forked
from same_run import Table, differing, evidence

from namprune import cli
from namprune.runs import RunFolder

CAPABILITIES = 0x20080522
"""Version of the interface by which a process says what it may do."""

FULL, ENOUGH = 600_000, 6_000_000
"""Bytes of a disk that a run does not fit on, and of one that it does."""


@contextmanager
def disk(place: Path, size: int) -> Iterator[Path]:
    """A disk of so many bytes."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=777", "tmpfs", place], check=True)  # noqa: S603, S607
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)  # noqa: S603, S607


def mountable(place: Path) -> bool:
    """Whether this process may mount disks."""
    try:
        with disk(place, ENOUGH):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def command(*arguments: str) -> None:
    """`namprune` with these arguments, in this process, for which permissions hold even if it is root's."""
    ctypes.CDLL(None).capset((ctypes.c_uint32 * 2)(CAPABILITIES, 0), (ctypes.c_uint32 * 6)())
    sys.argv = ["namprune", *arguments]
    cli.main()


def training(runs: Path) -> list[str]:
    """The arguments that train a run `dense` in a folder of runs."""
    overrides = [part for override in OVERRIDES for part in ("--set", override)]
    return ["train", "--recipe", "quickstart", *overrides, "--name", "dense", "--runs", str(runs)]


def fault(code: int, log: Path) -> str | None:
    """What is wrong with how a command was refused: one line and a hint, exit code 2."""
    said = log.read_text(encoding="utf-8")
    if code != 2:
        return f"exit code {code}: {said[-300:]!r}"
    if "Traceback" in said or said.count("error: ") != 1 or said.count("hint: ") != 1:
        return f"said {said[-300:]!r}"
    return None


def at_once(runs: Path, log: Path) -> str:
    """What is wrong with how a training is refused whose runs have no place; nothing may be left of it."""
    code = ended(forked(partial(command, *training(runs)), log=log))
    if wrong := fault(code, log):
        return wrong
    if "train 1/" in log.read_text(encoding="utf-8"):
        return "it trained before it said so"
    try:
        left = list(runs.iterdir()) if runs.is_dir() else []
    except OSError:
        left = []
    return f"{left[0].name} was left" if left else ""


def midway(
    runs: Path, log: Path, truth: dict[str, Any], *, refuse: Callable[[int, RunFolder], Callable[[], object]]
) -> str:
    """What is wrong with how a training ends whose place refuses after a while, and with what is left of it."""
    run = RunFolder(runs / "dense")
    child = forked(partial(command, *training(runs)), log=log)
    while not run.metrics.exists():
        time.sleep(0.005)
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return f"it did not begin: {log.read_text(encoding='utf-8')[-300:]!r}"
    mend = refuse(child, run)
    code = ended(child)
    wrong = fault(code, log)
    newest, broken = run.checkpoints.newest()
    mend()
    if wrong:
        return wrong
    if newest is None or broken:
        return f"the checkpoint before is gone: {broken}"
    again = forked(partial(command, "train", "--resume", "dense", "--runs", str(runs)), log=log)
    if code := ended(again):
        return f"not gone on with, exit code {code}: {log.read_text(encoding='utf-8')[-300:]!r}"
    return "other bytes at the end" if differing(truth, evidence(run)) else ""


def fill(_: int, run: RunFolder) -> Callable[[], object]:
    """Leave no room on the disk of a run; what it returns makes room again."""
    filler = run.path.parent.parent / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    return filler.unlink


def limit(child: int, _: RunFolder) -> Callable[[], object]:
    """Let a process write no large file."""
    resource.prlimit(child, resource.RLIMIT_FSIZE, (100_000, 100_000))
    return lambda: None


def lock(_: int, run: RunFolder) -> Callable[[], object]:
    """Let nobody write into the folder of the checkpoints."""
    run.checkpoints.path.chmod(0o555)
    return lambda: run.checkpoints.path.chmod(0o755)


def check_disks(root: Path, table: Table, *, truth: dict[str, Any], short: bool) -> None:
    """Every place that refuses, or two of them."""
    log = root / "log"

    def add(what: str, wrong: str, *, well: str) -> None:
        table.add(what, wrong or well, met=not wrong)

    refused = "exit code 2, one line and a hint before it trains, nothing left"
    kept = "exit code 2, one line and a hint; the checkpoint before is whole and goes on to the same bytes"
    long = root / ("x" * 300)
    add("a path too long", at_once(long, log), well=refused)
    (root / "limited").mkdir()
    add("a limit on files, midway", midway(root / "limited", log, truth, refuse=limit), well=kept)
    if short:
        return
    closed = root / "closed"
    closed.mkdir(mode=0o555)
    add("no permission", at_once(closed / "runs", log), well=refused)
    (root / "open").mkdir()
    add("permission lost midway", midway(root / "open", log, truth, refuse=lock), well=kept)
    if not mountable(root / "probe"):
        print("(no disks could be mounted: full and read-only ones are left out)", file=sys.stderr)
        return
    with disk(root / "full", FULL) as place:
        add("a full disk", at_once(place / "runs", log), well=refused)
    with disk(root / "filled", ENOUGH) as place:
        add("a disk that is full midway", midway(place / "runs", log, truth, refuse=fill), well=kept)
    with disk(root / "read-only", ENOUGH) as place:
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)  # noqa: S603, S607
        add("a read-only disk", at_once(place / "runs", log), well=refused)
