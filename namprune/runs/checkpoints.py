"""Checkpoints of a run at work: numbered folders of files with digests, whole or not there, the last two kept."""

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from namprune.errors import RunError
from namprune.result import record_from_json, to_json
from namprune.runs.files import digest_of, reading, sync_folder, write_new, writing
from namprune.table import quantity

FORMAT = 1
"""Version of digests.json. A reader takes what it does not know for broken."""

KEPT = 2
"""Checkpoints that stay: should the last one be broken by the disk, there is another."""

_DIGESTS = "digests.json"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NUMBER = re.compile(r"[0-9]{6}|[1-9][0-9]{6,}")


@dataclass(frozen=True, kw_only=True)
class _Digests:
    """What digests.json holds, which is written after all others."""

    format: int
    files: dict[str, str]
    """SHA-256 by name."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One that was found whole."""

    path: Path
    number: int
    files: Mapping[str, str]
    """SHA-256 by name."""

    def read(self, name: str) -> bytes:
        """The content of one of its files, compared with the digest again.

        Raises:
            RunError: it has no such file, or the file has changed.
        """
        if name not in self.files:
            raise RunError(f"checkpoint {self.path}: it has no {name}", hint="go on with the version that wrote it")
        with reading(self.path / name):
            data = (self.path / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != self.files[name]:
            raise RunError(f"checkpoint {self.path}: {name} is not what was written", hint=f"delete {self.path}")
        return data


@dataclass(frozen=True)
class Checkpoints:
    """The folder of a run's checkpoints. One process at a time may write: that is for the run's lock to see to."""

    path: Path

    def save(self, files: Mapping[str, bytes]) -> Path:
        """A new checkpoint with these contents by name; those but the last two go once it was read again.

        Raises:
            RunError: the place cannot be written or is full; the checkpoints before are as they were.
        """
        if strange := [name for name in files if not _NAME.fullmatch(name) or name == _DIGESTS]:
            raise ValueError(f"no name for a file of a checkpoint: {strange[0]!r}")
        present = self._numbered()
        final = self.path / f"{max(present, default=0) + 1:06d}"
        with self._writing(final, need=sum(map(len, files.values()))):
            if not self.path.exists():
                self.path.mkdir()
                sync_folder(self.path.parent)
            self._sweep()
            with self._temporary() as folder:
                _fill(folder, files)
                folder.rename(final)
            sync_folder(self.path)
            if (fault := _fault(final)) is not None:
                self._drop(final)
                raise RunError(f"cannot write {final}: what was read back differs ({fault})", hint="look at the disk")
            whole = (number for number in sorted(present, reverse=True) if _fault(present[number]) is None)
            for number in present.keys() - set(islice(whole, KEPT - 1)):
                self._drop(present[number])
        return final

    def newest(self) -> tuple[Checkpoint | None, tuple[str, ...]]:
        """The newest that is whole, if there is one, and why those after it were passed over, a line for each.

        Raises:
            RunError: the folder cannot be read.
        """
        faults: list[str] = []
        for number, path in sorted(self._numbered().items(), reverse=True):
            fault = _fault(path)
            if fault is None:
                return Checkpoint(path=path, number=number, files=_digests(path).files), tuple(faults)
            faults.append(f"checkpoint {path} is broken: {fault}")
        return None, tuple(faults)

    def discard(self) -> None:
        """Remove them all, as far as that can be done: what is left is in nobody's way."""
        shutil.rmtree(self.path, ignore_errors=True)

    def check_room(self, needed: int) -> None:
        """Before hours of work: whether checkpoints can be written here, and there are so many bytes for them.

        Those that are there count as room: they will go. When one is written, it lies beside the two that are kept.

        Raises:
            RunError: too little space, or the place cannot be written.
        """
        with self._writing(self.path, need=needed):
            self.path.mkdir(exist_ok=True)
            self._sweep()
            with self._temporary() as folder:
                write_new(folder / "probe", bytes(4096))
            taken = sum(file.stat().st_size for path in self._numbered().values() for file in path.glob("*"))
            if taken + shutil.disk_usage(self.path).free < needed:
                raise OSError("too little space")

    def _numbered(self) -> dict[int, Path]:
        """All that have the name of a checkpoint."""
        if self.path.is_symlink():
            raise RunError(f"checkpoints {self.path}: a link leads elsewhere", hint="put the folder itself there")
        with reading(self.path):
            paths = self.path.iterdir() if self.path.exists() else ()
            return {int(path.name): path for path in paths if _NUMBER.fullmatch(path.name)}

    @contextmanager
    def _writing(self, path: Path, *, need: int) -> Iterator[None]:
        """A fault of the file system as a line that says how much is needed and how much is there."""
        existing = next(folder for folder in (self.path, *self.path.parents) if folder.is_dir())
        free = shutil.disk_usage(existing).free
        with writing(path, need=f"{quantity(need, 'B')} needed, {quantity(free, 'B')} free"):
            yield

    @contextmanager
    def _temporary(self) -> Iterator[Path]:
        """A folder beside the checkpoints, which is gone afterwards unless it was renamed."""
        folder = self._unnumbered()
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _unnumbered(self) -> Path:
        return self.path / f".tmp-{os.getpid()}-{secrets.token_hex(8)}"

    def _drop(self, path: Path) -> None:
        """Remove a checkpoint; killed halfway, what is left does not pass for one."""
        _remove(path.rename(self._unnumbered()))

    def _sweep(self) -> None:
        """Remove what processes left that were killed."""
        for litter in self.path.glob(".tmp-*"):
            _remove(litter)


def _fill(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files and last their digests, down to the disk."""
    for name, data in files.items():
        write_new(folder / name, data)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    write_new(folder / _DIGESTS, to_json(_Digests(format=FORMAT, files=digests)).encode())
    sync_folder(folder)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _digests(path: Path) -> _Digests:
    return record_from_json(_Digests, (path / _DIGESTS).read_text(encoding="utf-8"), source=_DIGESTS)


def _fault(path: Path) -> str | None:
    """Why a checkpoint is not whole, or None. Nothing is followed out of its folder."""
    try:
        if path.is_symlink() or not _is_file(path / _DIGESTS):
            return f"no {_DIGESTS} in it"
        written = _digests(path)
        if written.format != FORMAT:
            return f"format {written.format}, this version reads format {FORMAT}"
        for name, digest in written.files.items():
            if not _NAME.fullmatch(name) or not _is_file(path / name):
                return f"no file {name} in it"
            if digest_of(path / name) != digest:
                return f"{name} is not what was written"
    except OSError as error:
        return error.strerror or str(error)
    except (RunError, ValueError) as error:  # a ValueError: digests.json is no text
        return str(error)
    return None


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
