"""Run folders: the only module that knows their files. Whole files or none, checked by digest."""

import dataclasses
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from namprune.errors import RunError
from namprune.result import Kind, RunResult, from_json, to_json

State = Literal["finished", "unfinished", "broken"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_ALWAYS = ("recipe.yaml", "model.safetensors")
_SOMETIMES = ("metrics.jsonl", "plan.json")


def write_atomic(path: Path, data: bytes | str) -> None:
    """Put `data` at `path`, wholly or not at all: a temporary file beside it, fsync, rename, fsync of the folder.

    Raises:
        RunError: the place cannot be written or is full.
    """
    path = path.resolve()  # a link stays one
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    with _writing(path):
        try:
            with temporary.open("xb") as file:
                file.write(data.encode() if isinstance(data, str) else data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)


@dataclass(frozen=True)
class RunFolder:
    """One run on disk. `result.json` is written last and lists the digests of the others."""

    path: Path

    @property
    def name(self) -> str:
        """Name of the run, which is that of its folder."""
        return self.path.name

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def weights(self) -> Path:
        """The tensors of the network."""
        return self.path / "model.safetensors"

    @property
    def metrics(self) -> Path:
        """One JSON line per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def plan(self) -> Path:
        """What was removed, of a pruned run."""
        return self.path / "plan.json"

    @property
    def sensitivity(self) -> Path:
        """One JSON line per cut that was tried on the run's network: what can be measured again, under no digest."""
        return self.path / "sensitivity.jsonl"

    @property
    def result_file(self) -> Path:
        """What the run amounts to; there when the run is finished."""
        return self.path / "result.json"

    def result(self) -> RunResult:
        """The finished run's record.

        Raises:
            RunError: unfinished, of another version, renamed, or a file is missing.
        """
        if not self.result_file.is_file():
            raise RunError(
                f"run {self.name!r} is unfinished: interrupted, or still at work",
                hint=f"if nothing is at work on it, delete {self.path} and run it again",
            )
        try:
            result = from_json(self.result_file.read_text(encoding="utf-8"), source="result.json")
        except (OSError, UnicodeDecodeError) as error:
            raise _broken(self, f"result.json cannot be read ({error})") from error
        except RunError as error:
            raise _broken(self, error.message, hint=error.hint) from error
        if not _is_plain(self.name):
            raise _broken(self, "its name is none that a run can have")
        if result.name != self.name:
            raise _broken(self, f"result.json belongs to run {result.name!r}; a run cannot be copied or renamed")
        if missing := [name for name in _ALWAYS if name not in result.files]:
            raise _broken(self, f"result.json has no digest of {missing[0]}")
        if missing := [name for name in result.files if not (self.path / name).is_file()]:
            raise _broken(self, f"{missing[0]} is missing")
        return result

    def problem(self) -> str | None:
        """Why the run cannot be used, in a line, or None. Digests are for `verify`, because they take reading."""
        try:
            self.result()
        except RunError as error:
            return error.message
        return None

    def state(self) -> State:
        """Whether the run is complete, was cut short, or cannot be read."""
        if not self.result_file.is_file():
            return "unfinished"
        return "finished" if self.problem() is None else "broken"

    def verify(self) -> None:
        """Hash every file again.

        Raises:
            RunError: a file differs from what the run wrote, or is missing.
        """
        for name, digest in self.result().files.items():
            if _digest(self.path / name) != digest:
                raise _broken(self, f"{name} is not what the run wrote: its SHA-256 differs")

    def write(self, file: Path | str, data: bytes | str) -> None:
        """Put `data` into the folder's `file`, wholly or not at all."""
        write_atomic(self.path / Path(file).name, data)

    def discard(self) -> None:
        """Delete what is left of the run, if anything; its result first, so that no half of it passes for finished."""
        with _writing(self.path):
            self.result_file.unlink(missing_ok=True)
            if self.path.exists():
                shutil.rmtree(self.path)

    def append(self, file: Path, record: Mapping[str, object]) -> None:
        """Add one JSON line to a file of the folder."""
        with _writing(file), file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(record) + "\n")

    def finish(self, result: RunResult) -> RunResult:
        """Write result.json, the mark of a finished run, with the digests of the files; return it so."""
        present = [*_ALWAYS, *(name for name in _SOMETIMES if (self.path / name).exists())]
        finished = dataclasses.replace(result, files={name: _digest(self.path / name) for name in present})
        self.write(self.result_file, to_json(finished))
        return finished


@dataclass(frozen=True)
class RunStore:
    """The folder that holds the runs."""

    root: Path

    def create(self, name: str, *, recipe: str) -> RunFolder:
        """A new run folder that holds its recipe; nothing is left behind on failure.

        Raises:
            RunError: a name that is no plain name, one that is taken, or a place that cannot be written.
        """
        folder = self._folder(self.unused(name))
        with _writing(folder.path):
            self.root.mkdir(parents=True, exist_ok=True)
            folder.path.mkdir()
        try:
            folder.write(folder.recipe, recipe)
        except BaseException:
            shutil.rmtree(folder.path)
            raise
        return folder

    def unused(self, name: str) -> str:
        """`name`, if a run may be made under it; to be asked before hours of work, not after.

        Raises:
            RunError: no plain name, or one that is taken.
        """
        if os.path.lexists(self._folder(name).path):
            hint = f"choose another with --name, for example {self.free_name(name)}"
            raise RunError(f"run {name!r} already exists in {self.root}", hint=hint)
        return name

    def free_name(self, stem: str) -> str:
        """`stem`, or the first of stem-2, stem-3 ... that is not taken; cut where it is too long for a name."""
        name, number = stem[:64], 1
        while os.path.lexists(self._folder(name).path):
            number += 1
            suffix = f"-{number}"
            name = stem[: 64 - len(suffix)] + suffix
        return name

    def open(self, name: str) -> RunFolder:
        """A finished run.

        Raises:
            RunError: no plain name, no such run, or one that is unfinished, broken or of another version.
        """
        folder = self._folder(name)
        if not _is_run(folder):
            known = [other.name for other in self.folders()]
            near = get_close_matches(name, known, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "`namprune runs` lists those there are"
            raise RunError(f"no run {name!r} in {self.root}", hint=hint)
        folder.result()
        return folder

    def newest(self, *, kind: Kind = "train") -> RunFolder:
        """The finished run of this kind that was completed last; others are passed over.

        Raises:
            RunError: there is none.
        """
        finished = [(folder.result(), folder) for folder in self.folders() if folder.state() == "finished"]
        candidates = [(result.created, folder.name) for result, folder in finished if result.kind == kind]
        if not candidates:
            raise RunError(
                f"no finished {kind} run in {self.root}",
                hint="`namprune train --recipe quickstart` makes one; --runs names another folder of runs",
            )
        return self._folder(max(candidates)[1])

    def folders(self) -> tuple[RunFolder, ...]:
        """Everything under the root that looks like a run, finished or not, by name."""
        with _reading(self.root):
            paths = sorted(self.root.iterdir()) if self.root.is_dir() else []
            return tuple(folder for path in paths if _is_run(folder := RunFolder(path)))

    def _folder(self, name: str) -> RunFolder:
        if not _is_plain(name):
            raise RunError(
                f"run name {name!r}: up to 64 letters, digits, dots, dashes and underscores, no path",
                hint="give the name alone, as `namprune runs` lists it; --runs names the folder of runs",
            )
        folder = RunFolder(self.root / name)
        if not folder.path.resolve().is_relative_to(self.root.resolve()):
            raise RunError(f"run {name!r} is a link that leads out of {self.root}", hint="put the run itself there")
        return folder


def _is_plain(name: str) -> bool:
    harmless = ".." not in name and not name.endswith(".") and not _RESERVED.fullmatch(name)
    return harmless and _NAME.fullmatch(name) is not None


def _is_run(folder: RunFolder) -> bool:
    return any(file.exists() for file in (folder.recipe, folder.result_file, folder.weights, folder.metrics))


def _broken(folder: RunFolder, fault: str, *, hint: str | None = None) -> RunError:
    remedy = hint or f"delete {folder.path} and run it again"
    return RunError(f"run {folder.name!r} is broken: {fault}", hint=remedy)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot read {path}: {error.strerror or error}", hint="choose another folder with --runs"
        ) from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """A fault of the file system as a line that names the place."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(f"cannot write {path}: {reason}", hint="free it, or choose another place") from error
