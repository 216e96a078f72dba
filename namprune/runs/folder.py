"""One run on disk: its files, what state it is in, and that it is what was written."""

import dataclasses
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from namprune.errors import RunError
from namprune.json_text import json_text
from namprune.result import Export, Kind, RunResult, Start, from_json, record_from_json, to_json
from namprune.runs.checkpoints import Checkpoints
from namprune.runs.files import digest_of, sweep, write_atomic, writing
from namprune.runs.lock import claim, holder

State = Literal["finished", "running", "unfinished", "broken"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_ALWAYS = ("recipe.yaml", "model.safetensors")
_SOMETIMES = ("metrics.jsonl", "plan.json")


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
    def sensitivity_curves(self) -> Path:
        """What those cuts amount to, as it was last measured from end to end."""
        return self.path / "sensitivity.json"

    @property
    def exports_folder(self) -> Path:
        """Files for other programs, each with its record beside it: what can be written again, under no digest."""
        return self.path / "export"

    @property
    def start_file(self) -> Path:
        """What the run began as."""
        return self.path / "start.json"

    @property
    def checkpoints(self) -> Checkpoints:
        """Where a run at work can be gone on with; none when it is finished."""
        return Checkpoints(self.path / "checkpoint")

    @property
    def lock_file(self) -> Path:
        """Locked by the process that is at work on the run."""
        return self.path / ".lock"

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
            raise self._unfinished()
        try:
            result = from_json(self.result_file.read_text(encoding="utf-8"), source="result.json")
        except (OSError, UnicodeDecodeError) as error:
            raise _broken(self, f"result.json cannot be read ({error})") from error
        except RunError as error:
            raise _broken(self, error.message, hint=error.hint) from error
        if not is_plain(self.name):
            raise _broken(self, "its name is none that a run can have")
        if result.name != self.name:
            raise _broken(self, f"result.json belongs to run {result.name!r}; a run cannot be copied or renamed")
        if missing := [name for name in _ALWAYS if name not in result.files]:
            raise _broken(self, f"result.json has no digest of {missing[0]}")
        if missing := [name for name in result.files if not (self.path / name).is_file()]:
            raise _broken(self, f"{missing[0]} is missing")
        return result

    def exports(self) -> tuple[Export, ...]:
        """Records of what was exported of the finished run and is still there, by file name.

        Those that cannot be read, or are of a run that had this name before, are passed over: they can be made again.
        """
        records = sorted(self.exports_folder.glob("*.json"))
        weights = self.result().files[self.weights.name] if records else None
        found = []
        for file in records:
            with suppress(OSError, UnicodeDecodeError, RunError):
                export = record_from_json(Export, file.read_text(encoding="utf-8"), source=file.name)
                if export.weights == weights and file.name == f"{export.file}.json" and file.with_suffix("").is_file():
                    found.append(export)
        return tuple(found)

    def problem(self) -> str | None:
        """Why the run cannot be used, in a line, or None. Digests are for `verify`, because they take reading."""
        try:
            self.result()
        except RunError as error:
            return error.message
        return None

    def state(self) -> State:
        """Whether the run is complete, at work in some process, was cut short, or cannot be read."""
        if not self.result_file.is_file():
            return "running" if holder(self.lock_file) else "unfinished"
        return "finished" if self.problem() is None else "broken"

    def start(self) -> Start:
        """What the run began as.

        Raises:
            RunError: that was not written down, or cannot be read.
        """
        try:
            return record_from_json(Start, self.start_file.read_text(encoding="utf-8"), source=self.start_file.name)
        except FileNotFoundError as error:
            raise _broken(self, "start.json is missing: an earlier version began it") from error
        except (OSError, UnicodeDecodeError) as error:
            raise _broken(self, f"start.json cannot be read ({error})") from error
        except RunError as error:
            raise _broken(self, error.message) from error

    def begun_as(self) -> Start | None:
        """The same, or None where nobody can say."""
        try:
            return self.start()
        except RunError:
            return None

    def command(self, words: str) -> str:
        """What to type: `namprune` with these words, and --runs where it takes that to find this run."""
        root = str(self.path.parent)
        return f"namprune {words}" + ("" if root == "runs" else f" --runs {shlex.quote(root)}")

    def resume_command(self, kind: Kind) -> str:
        """What to type to go on with it, unfinished and of this kind."""
        return self.command(f"{'prune' if kind == 'prune' else 'train'} --resume {self.name}")

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other processes off the run, for as long as the context lasts or this process lives.

        What one that was killed has left half written goes.

        Raises:
            RunError: another one is at work on it, or the folder cannot be written.
        """
        with claim(self.lock_file, run=self.name):
            sweep(self.path)
            yield

    def verify(self) -> None:
        """Hash every file again.

        Raises:
            RunError: a file differs from what the run wrote, or is missing.
        """
        for name, digest in self.result().files.items():
            if digest_of(self.path / name) != digest:
                raise _broken(self, f"{name} is not what the run wrote: its SHA-256 differs")

    def write(self, file: Path | str, data: bytes | str) -> None:
        """Put `data` into the folder's `file`, wholly or not at all."""
        write_atomic(self.path / Path(file).name, data)

    def discard(self) -> None:
        """Delete what is left of the run, if anything; its result first, so that no half of it passes for finished.

        Raises:
            RunError: a process is at work on it, or it cannot be deleted.
        """
        if not self.path.exists():
            return
        with self.claimed(), writing(self.path):
            self.result_file.unlink(missing_ok=True)
            shutil.rmtree(self.path)

    def append(self, file: Path, record: Mapping[str, object]) -> None:
        """Add one JSON line to a file of the folder."""
        with writing(file), file.open("a", encoding="utf-8") as lines:
            lines.write(json_text(record) + "\n")

    def finish(self, result: RunResult) -> RunResult:
        """Write result.json, the mark of a finished run, with the digests of the files, and return it so.

        The checkpoints go: all that was in them is there now.
        """
        present = [*_ALWAYS, *(name for name in _SOMETIMES if (self.path / name).exists())]
        finished = dataclasses.replace(result, files={name: digest_of(self.path / name) for name in present})
        self.write(self.result_file, to_json(finished))
        self.checkpoints.discard()
        return finished

    def _unfinished(self) -> RunError:
        """Why there is no result yet, and what can be done."""
        if owner := holder(self.lock_file):
            return RunError(f"run {self.name!r} is at work in {owner}", hint="wait for it, or end that process")
        begun = self.begun_as()
        if begun is None:
            hint = f"if nothing is at work on it, delete {self.path} and run it again"
        else:
            hint = f"`{self.resume_command(begun.kind)}` goes on with it"
        return RunError(f"run {self.name!r} is unfinished: it was interrupted or failed", hint=hint)


def is_plain(name: str) -> bool:
    """Whether a run may have this name: it is a folder's on every system, and leads nowhere."""
    harmless = ".." not in name and not name.endswith(".") and not _RESERVED.fullmatch(name)
    return harmless and _NAME.fullmatch(name) is not None


def _broken(folder: RunFolder, fault: str, *, hint: str | None = None) -> RunError:
    remedy = hint or f"delete {folder.path} and run it again"
    return RunError(f"run {folder.name!r} is broken: {fault}", hint=remedy)
