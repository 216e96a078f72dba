"""A run at work: what has come of it so far, saved as it goes, so that an interruption costs a minute at most."""

import dataclasses
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from namprune import console, signals
from namprune.checkpoint import load_network, tensors_from_bytes, tensors_to_bytes, to_bytes
from namprune.data import Data
from namprune.device import describe_environment, deterministic, pick_device
from namprune.distributed import rank, share, size
from namprune.errors import NampruneError
from namprune.json_text import json_text
from namprune.pruning import PruningPlan
from namprune.recipe import Recipe, dump_recipe
from namprune.result import EpochRecord, Kind, Measurement, Start, record_from_json, to_json
from namprune.runs import RunFolder, RunStore
from namprune.table import counted, duration, quantity
from namprune.tracking import Tracker, Trackers, tracked
from namprune.training import Event, NonFiniteError, Way

NETWORK, TRAINING, PROGRESS = "model.safetensors", "training.safetensors", "progress.json"
"""The files of a checkpoint."""

ROOM = 3.2
"""How many checkpoints must fit on the disk: two that are kept, a third while it is written, and some air."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What has come of a run, beside its network and its training."""

    seconds: float = 0.0
    """Of work, over all sittings."""
    cuts: int = 0
    """Steps of a pruning that have made their cut."""
    plan: PruningPlan | None = None
    """All cuts so far as one."""
    proof: float = 0.0
    """The largest of theirs."""
    way: Way | None = None
    """In which the network is computed while it trains, where a trial decided it."""
    stages: tuple[Measurement, ...] = ()
    records: tuple[EpochRecord, ...] = ()


class Source(Protocol):
    """A training that can be saved between two of its events."""

    model: nn.Module

    @property
    def epoch(self) -> int:
        """The present one, from 0."""
        ...

    @property
    def taken(self) -> int:
        """Steps that are done."""
        ...

    @property
    def shown(self) -> Tensor | None:
        """Some pictures of the first batch of this sitting, normalized, (N, C, H, W)."""
        ...

    def __iter__(self) -> Iterator[Event]:
        """Go on from where it stands."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """All that going on takes, but for the network."""
        ...

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Go on from there."""
        ...


class Work:
    """A run folder that one process works on, and the newest checkpoint in it, which the work goes on from.

    Of a group the first process writes; the others read the same checkpoint.
    """

    def __init__(self, run: RunFolder, *, save_every: float) -> None:
        self.run = run
        self.save_every = save_every
        self.saved, broken = run.checkpoints.newest()
        for why in broken:
            console.warn(f"passed over: {why}")
        text = self.saved.read(PROGRESS).decode() if self.saved else "{}"
        self.progress = record_from_json(Progress, text, source=PROGRESS)
        self.started = time.perf_counter() - self.progress.seconds
        self.last_save = -float("inf")
        self.tracker: Tracker = Trackers({})
        lines = [json_text(dataclasses.asdict(record)) + "\n" for record in self.progress.records]
        if rank() == 0 and (lines or run.metrics.exists()):  # what came after the checkpoint comes again
            run.write(run.metrics, "".join(lines))

    @property
    def seconds(self) -> float:
        """Of work so far."""
        return time.perf_counter() - self.started

    def note(self, **changes: Any) -> None:
        """Change the progress, on paper with the next save."""
        self.progress = replace(self.progress, **changes)

    def network(self, recipe: Recipe, data: Data) -> nn.Module | None:
        """The network of the checkpoint, on the CPU; None where there is none."""
        if self.saved is None:
            return None
        return load_network(recipe, self.saved.path / NETWORK, classes=len(data.classes), input_shape=data.input_shape)

    def take_up(self, training: Source) -> None:
        """Bring the training that the checkpoint was made of to where it stood; later ones begin anew."""
        if self.saved is not None:
            training.load_state_dict(tensors_from_bytes(self.saved.read(TRAINING)))
            self.saved = None

    def save(self, training: Source) -> None:
        """Put a checkpoint into the folder.

        Raises:
            RunError: there is no room, or the place cannot be written; earlier checkpoints stay.
        """
        try:
            state = training.state_dict()
        except NonFiniteError:
            return  # nothing to keep; the training itself says what follows
        self.note(seconds=self.seconds)
        files = {
            NETWORK: to_bytes(training.model),
            TRAINING: tensors_to_bytes(state),
            PROGRESS: to_json(self.progress).encode(),
        }
        if self.last_save < 0:
            self.run.checkpoints.check_room(int(ROOM * sum(map(len, files.values()))))
        self.run.checkpoints.save(files)
        self.last_save = time.perf_counter()
        amount = quantity(sum(map(len, files.values())), "B")
        console.detail(f"saved after step {training.taken} in {self.run.checkpoints.path}, {amount}")

    @property
    def due(self) -> bool:
        """Whether it is time to save again."""
        return time.perf_counter() - self.last_save > self.save_every


@contextmanager
def at_work(run: RunFolder, recipe: Recipe, *, kind: Kind) -> Iterator[Work]:
    """Work on a run that no other process works on; an interruption says how to go on.

    A run that fails before it has saved anything leaves nothing behind.
    """
    nothing = False
    try:
        with (
            signals.at_once(on=False),
            run.claimed() if rank() == 0 else nullcontext(),
            deterministic(recipe.runtime.deterministic),
        ):
            try:
                work = Work(run, save_every=recipe.runtime.save_every)
                _say_where(work, recipe)
                with _told(work, recipe, kind) as work.tracker:
                    yield work
            except KeyboardInterrupt:
                console.warn(f"interrupted; to go on: {resume_command(run, kind=kind)}")
                raise
            except NampruneError:
                nothing = rank() == 0 and run.checkpoints.newest() == (None, ())
                raise
    finally:
        if nothing:
            with suppress(NampruneError):  # what was wrong is raised
                run.discard()


@contextmanager
def _told(work: Work, recipe: Recipe, kind: Kind) -> Iterator[Tracker]:
    """All that are told of the run; of a group the first process tells."""
    if rank() > 0:
        yield Trackers({})
        return
    start = work.run.begun_as()
    tags = {"kind": str(kind)} | ({"parent": start.parent} if start and start.parent else {})
    # what was told of a step that comes again is hidden
    step = len(work.progress.records) + 1 if work.saved else 0
    with tracked(work.run.path, step=step, name=recipe.runtime.track, tags=tags) as trackers:
        yield trackers


def _say_where(work: Work, recipe: Recipe) -> None:
    section = recipe.runtime
    here = describe_environment(pick_device(section.device))
    console.detail(
        f"on {here.device}, {counted(here.threads, 'thread')}, torch {here.versions['torch']}; "
        f"precision {section.precision}, compile {section.compile}, deterministic {section.deterministic}, "
        f"channels_last {section.channels_last}"
    )
    if work.saved is not None:
        console.detail(f"from {work.saved.path}, after {duration(work.progress.seconds)} of work")


def resume_command(run: RunFolder, *, kind: Kind) -> str:
    """What to type to go on with an unfinished run, on as many devices."""
    here = size() > 1 and share(size()) == 1  # all of them on this machine
    return run.resume_command(kind) + f" --devices {size()}" * here


def created(name: str, recipe: Recipe, start: Start, *, store: RunStore) -> RunFolder:
    """A new run folder, which the first process of a group makes."""
    return store.create(name, recipe=dump_recipe(recipe), start=start) if rank() == 0 else RunFolder(store.root / name)


def begun(recipe: Recipe, data: Data, device: torch.device, *, kind: Kind, parent: RunFolder | None = None) -> Start:
    """What a run begins as."""
    return Start(
        kind=kind,
        parent=parent.name if parent else None,
        parent_weights=parent.result().files[parent.weights.name] if parent else None,
        data_digest=data.digest,
        recipe_sha256=hashlib.sha256(dump_recipe(recipe).encode()).hexdigest(),
        environment=describe_environment(device),
    )
