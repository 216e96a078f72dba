"""The runs of a comparison as jobs: plain data that any process can be given, and how the run of one is made."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from namprune import console
from namprune.recipe import parse_recipe
from namprune.result import Kind, RunResult
from namprune.runs import RunFolder, RunStore
from namprune.stages.prune import prune
from namprune.stages.resume import begun_alike, resume
from namprune.stages.scratch import scratch
from namprune.stages.train import train


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run to be made; `parent` names the run that it is made from, which may be that of another job."""

    name: str
    kind: Kind
    recipe: str
    """As YAML."""
    device: str
    """What the recipe says of it."""
    parent: str | None


Backend = Callable[[Sequence[Job], Path], Generator[RunResult, None, None]]
"""Makes the runs of jobs, in which parents stand before what is made from them, in the folder of runs, and yields
each when it is finished. A NampruneError of one ends all; closed before the end, it stops what is at work."""


def one_by_one(jobs: Sequence[Job], root: Path) -> Generator[RunResult, None, None]:
    """The backend without another process: one run after the other."""
    for job in jobs:
        yield make(job, root)


def make(job: Job, root: Path) -> RunResult:
    """Make the run of a job without a word. One that was begun alike is gone on with, or taken if it is finished by
    now; what else has its name is deleted first.

    Raises:
        RunError: another process is at work on it, or its parent is not there.
        NampruneError: as `train`, `prune` and `scratch`.
    """
    store = RunStore(root)
    recipe = parse_recipe(job.recipe, source=f"recipe of {job.name}")
    left = RunFolder(root / job.name)
    with console.quiet():
        if begun_alike(left, recipe, kind=job.kind, parent=job.parent):
            return left.result() if left.result_file.is_file() else resume(left, recipe)
        left.discard()
        if job.parent is None:
            return train(recipe, store=store, name=job.name)
        cut = prune if job.kind == "prune" else scratch
        return cut(store.open(job.parent), recipe, store=store, name=job.name)
