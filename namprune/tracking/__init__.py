"""Where a run is told of while it is made: TensorBoard always, and a tracker that the recipe names.

A tracker only looks on: one that fails (a full disk, a server that is gone) is warned of once and told nothing more,
and the work goes on without it.
"""

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from torch import Tensor

from namprune import console
from namprune.choices import TrackerName
from namprune.errors import UserError
from namprune.tracking.tracker import Setting, Tracker

__all__ = ["TRACKERS", "Opener", "Setting", "Tracker", "Trackers", "tracked"]


class Opener(Protocol):
    """Begins or takes up what a tracker has of the run in `folder`, of which steps from `step` on come again."""

    def __call__(self, folder: Path, *, step: int, tags: Mapping[str, str]) -> Tracker:
        """`tags` say what kind of run it is, and which one it is made from."""
        ...


class Trackers:
    """All that are told of a run, by name, as one."""

    def __init__(self, trackers: Mapping[str, Tracker]) -> None:
        self.trackers = dict(trackers)

    def scalars(self, values: Mapping[str, float], *, step: int) -> None:
        """As `Tracker.scalars`."""
        self._tell(lambda tracker: tracker.scalars(values, step=step))

    def histogram(self, name: str, values: Tensor, *, step: int) -> None:
        """As `Tracker.histogram`."""
        self._tell(lambda tracker: tracker.histogram(name, values, step=step))

    def pictures(self, name: str, images: Tensor, *, step: int) -> None:
        """As `Tracker.pictures`."""
        self._tell(lambda tracker: tracker.pictures(name, images, step=step))

    def outcome(self, settings: Mapping[str, Setting], metrics: Mapping[str, float]) -> None:
        """As `Tracker.outcome`."""
        self._tell(lambda tracker: tracker.outcome(settings, metrics))

    def close(self) -> None:
        """As `Tracker.close`."""
        self._tell(lambda tracker: tracker.close())

    def _tell(self, say: Callable[[Tracker], None]) -> None:
        for name, tracker in [*self.trackers.items()]:
            try:
                say(tracker)
            except Exception as error:  # noqa: BLE001 - whatever it is, hours of training are worth more
                del self.trackers[name]
                _warn(name, error)
                with suppress(Exception):  # it has been said
                    tracker.close()


@contextmanager
def tracked(folder: Path, *, step: int, name: TrackerName | None, tags: Mapping[str, str]) -> Iterator[Trackers]:
    """TensorBoard and the tracker of that name, if any, for as long as the context lasts.

    Raises:
        UserError: the tracker is not installed.
    """
    openers: dict[str, Opener] = {"TensorBoard": _tensorboard}
    if name is not None:
        if importlib.util.find_spec(name) is None:
            raise UserError(
                f"runtime.track: {name} is not installed",
                hint=f"pip install 'namprune[{name}]', or --set runtime.track=null",
            )
        openers[name] = TRACKERS[name]
    opened: dict[str, Tracker] = {}
    for each, opener in openers.items():
        try:
            opened[each] = opener(folder, step=step, tags=tags)
        except Exception as error:  # noqa: BLE001 - as above
            _warn(each, error)
    trackers = Trackers(opened)
    try:
        yield trackers
    finally:
        trackers.close()


def _warn(name: str, error: Exception) -> None:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    console.warn(f"{name} is told nothing more of this run, which goes on: {reason}")


def _tensorboard(folder: Path, *, step: int, tags: Mapping[str, str]) -> Tracker:
    from namprune.tracking.tensorboard import TensorBoard

    return TensorBoard(folder, step=step, tags=tags)


def _mlflow(folder: Path, *, step: int, tags: Mapping[str, str]) -> Tracker:
    from namprune.tracking.mlflow import MLflow

    return MLflow(folder, step=step, tags=tags)


TRACKERS: dict[TrackerName, Opener] = {"mlflow": _mlflow}
"""Beside TensorBoard; each is installed as the extra of its name."""
