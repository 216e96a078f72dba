"""Files that are there whole or not at all, also after a crash."""

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from namprune.errors import RunError


def write_atomic(path: Path, data: bytes | str) -> None:
    """Put `data` at `path`, wholly or not at all: a temporary file beside it, fsync, rename, fsync of the folder.

    Raises:
        RunError: the place cannot be written or is full.
    """
    path = path.resolve()  # a link stays one
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    with writing(path):
        try:
            write_new(temporary, data.encode() if isinstance(data, str) else data)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


def sweep(folder: Path) -> None:
    """Remove from a folder what processes left that were killed in `write_atomic`. None may be at it now."""
    with writing(folder):
        for litter in folder.glob(".*.tmp"):
            litter.unlink(missing_ok=True)


def write_new(path: Path, data: bytes) -> None:
    """Write a file that is not there yet, down to the disk."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Bring the names in a folder down to the disk: after a rename, the new one."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """A fault of the file system as a line that names the place."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot read {path}: {error.strerror or error}", hint="choose another folder with --runs"
        ) from error


@contextmanager
def writing(path: Path, *, need: str = "") -> Iterator[None]:
    """A fault of the file system as a line that names the place and, where it is given, what is needed there."""
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror or error}{need and f'; {need}'}"
        raise RunError(f"cannot write {path}: {reason}", hint="free it, or choose another place") from error
