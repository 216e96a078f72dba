"""The folder that holds the runs: new ones, named ones, the newest, and those that wait to be gone on with."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from namprune.errors import RunError
from namprune.nearest import did_you_mean
from namprune.result import Kind, Start, to_json
from namprune.runs.files import reading, writing
from namprune.runs.folder import RunFolder, is_plain


@dataclass(frozen=True)
class RunStore:
    """The folder that holds the runs."""

    root: Path

    def create(self, name: str, *, recipe: str, start: Start | None = None) -> RunFolder:
        """A new run folder that holds its recipe and what it begins as; nothing is left behind on failure.

        Raises:
            RunError: a name that is no plain name, one that is taken, or a place that cannot be written.
        """
        folder = self._folder(self.unused(name))
        with writing(folder.path):
            self.root.mkdir(parents=True, exist_ok=True)
            folder.path.mkdir()
        try:
            if start is not None:
                folder.write(folder.start_file, to_json(start))
            folder.write(folder.recipe, recipe)  # last: with it the folder is a run
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
        """A finished run, without its checkpoints, should it have been killed when it had just finished.

        Raises:
            RunError: no plain name, no such run, or one that is unfinished, broken or of another version.
        """
        folder = self._existing(name)
        folder.result()
        folder.checkpoints.discard()
        return folder

    def open_unfinished(self, name: str, *, kinds: Sequence[Kind]) -> RunFolder:
        """A run of these kinds to go on with; whether a process is at work on it is for `RunFolder.claimed` to say.

        Raises:
            RunError: no plain name, no such run, one that is finished or of another kind, or nobody knows of which.
        """
        folder = self._existing(name)
        if folder.result_file.is_file():
            self.open(name)
            raise RunError(f"run {name!r} is finished", hint=f"`{folder.command(f'runs show {name}')}` shows it")
        if (begun := folder.start().kind) not in kinds:
            hint = f"`{folder.resume_command(begun)}` goes on with it"
            raise RunError(f"run {name!r} is a {begun} run, not a {kinds[0]} run", hint=hint)
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

    def newest_unfinished(self, *, kinds: Sequence[Kind]) -> RunFolder:
        """The run of these kinds that was begun last, of those that were cut short and that no process is at work on.

        Raises:
            RunError: there is none.
        """
        states = {folder: folder.state() for folder in self.folders()}
        begun = [
            (folder.start_file.stat().st_mtime_ns, folder.name)  # written once, when the run is made
            for folder, state in states.items()
            if state == "unfinished" and (start := folder.begun_as()) and start.kind in kinds
        ]
        if begun:
            return self._folder(max(begun)[1])
        running = [folder.name for folder, state in states.items() if state == "running"]
        raise RunError(
            f"no unfinished {kinds[0]} run in {self.root}" + (f"; at work: {', '.join(running)}" if running else ""),
            hint="`namprune runs` lists those there are; --runs names another folder of runs",
        )

    def folders(self) -> tuple[RunFolder, ...]:
        """Everything under the root that looks like a run, finished or not, by name."""
        with reading(self.root):
            paths = sorted(self.root.iterdir()) if self.root.is_dir() else []
            return tuple(folder for path in paths if _is_run(folder := RunFolder(path)))

    def _existing(self, name: str) -> RunFolder:
        folder = self._folder(name)
        if not _is_run(folder):
            known = [other.name for other in self.folders()]
            raise RunError(f"no run {name!r} in {self.root}", hint=did_you_mean(name, known))
        return folder

    def _folder(self, name: str) -> RunFolder:
        if not is_plain(name):
            raise RunError(
                f"run name {name!r}: up to 64 letters, digits, dots, dashes and underscores, a letter or digit first",
                hint="give the name alone, as `namprune runs` lists it; --runs names the folder of runs",
            )
        folder = RunFolder(self.root / name)
        if not folder.path.resolve().is_relative_to(self.root.resolve()):
            raise RunError(f"run {name!r} is a link that leads out of {self.root}", hint="put the run itself there")
        return folder


def _is_run(folder: RunFolder) -> bool:
    return any(file.exists() for file in (folder.recipe, folder.result_file, folder.weights, folder.metrics))
