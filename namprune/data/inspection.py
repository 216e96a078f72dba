"""What is found out of a folder of pictures before it is relied on, and remembered as long as its files stay the same.

One JSON file per folder and split under `$XDG_CACHE_HOME/namprune` (`~/.cache/namprune`).
"""

import hashlib
import os
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from namprune import console
from namprune.cache import cache_folder
from namprune.data.decode import MAX_PIXELS, cores
from namprune.data.folder import Listing, check_files
from namprune.errors import RunError
from namprune.result import record_from_json, to_json
from namprune.signals import poll

TAIL = 4096
"""Bytes at the end of a file that tell almost any two pictures of one size apart."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Of a folder whose pictures can all be read."""

    root: str
    pictures: int
    twins: tuple[str, ...]
    """Files held out of training whose very bytes are trained on, too."""


def inspect(root: Path, splits: Mapping[str, Listing], *, unread: Collection[str], side: int) -> None:
    """Decode the pictures of the splits `unread` once, and warn of those outside of train that are in train, too.

    Raises:
        DataError: naming the pictures that cannot be read.
    """
    place = cache_folder() / f"pictures-{_key(root, splits, unread=unread, side=side)[:16]}.json"
    try:
        finding = record_from_json(Finding, place.read_text(encoding="utf-8"), source=str(place))
        console.detail(f"{root}: looked through before, see {place}")
    except (OSError, ValueError, RunError):  # none, or broken: it is made anew
        finding = _look(root, splits, unread=unread, side=side)
        with suppress(OSError, UnicodeError):  # where nothing can be kept, it is only done again
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(to_json(finding), encoding="utf-8")
    if finding.twins:
        held = sum(len(part.files) for name, part in splits.items() if name != "train")
        console.warn(
            f"{len(finding.twins)} of {held} pictures held out of training are trained on, too, byte for byte "
            f"(such as {finding.twins[0]}): accuracy on them proves nothing"
        )


def _look(root: Path, splits: Mapping[str, Listing], *, unread: Collection[str], side: int) -> Finding:
    files = [file for name in sorted(unread) for file in splits[name].files]
    if files:
        console.message(f"checking that all {len(files):,} pictures of {root} can be read (done once)")
        check_files(files, side=side, threads=cores())
    pictures = sum(len(part.files) for part in splits.values())
    return Finding(root=str(root.absolute()), pictures=pictures, twins=tuple(map(str, _twins(splits))))


def _twins(splits: Mapping[str, Listing]) -> list[Path]:
    """Files outside of train with the bytes of one in it; few are read whole, as most differ in size or at the end."""
    train = [*splits["train"].files]
    held = [file for name, part in splits.items() if name != "train" for file in part.files]
    marks: tuple[Callable[[Path], object], ...] = (_size, _tail, _digest)
    for mark in marks:
        of_train, of_held = ({file: mark(file) for file in files} for files in (train, held))
        shared = {*of_train.values()} & {*of_held.values()}
        train = [file for file in train if of_train[file] in shared]
        held = [file for file in held if of_held[file] in shared]
    return held


def _size(file: Path) -> int:
    return file.stat().st_size


def _tail(file: Path) -> bytes:
    poll()
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - TAIL))
        return hashlib.sha256(opened.read()).digest()


def _digest(file: Path) -> bytes:
    poll()
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").digest()


def _key(root: Path, splits: Mapping[str, Listing], *, unread: Collection[str], side: int) -> str:
    """SHA-256 over name, size and time of change of each file of each split, and over what was asked of them."""
    digest = hashlib.sha256(f"{sorted(unread)} {side} {MAX_PIXELS}\n".encode())
    for name, part in splits.items():
        for file in part.files:
            status = _status(file)
            digest.update(os.fsencode(f"{name} {root.absolute() / file} {status}\n"))
    return digest.hexdigest()


def _status(file: Path) -> tuple[int, int] | None:
    """None where a link leads nowhere: who reads it will say so."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns
