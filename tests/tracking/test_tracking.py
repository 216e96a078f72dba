"""A tracker that fails ends nothing; one that is not installed is said before anything begins."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from namprune.errors import UserError
from namprune.tracking import Tracker, tracked
from namprune.tracking.tensorboard import TensorBoard


def tell_all(tracker: Tracker) -> None:
    for step in (1, 2):
        tracker.scalars({"loss": 1.0}, step=step)
        tracker.histogram("gamma", torch.ones(3), step=step)
    tracker.pictures("pictures", torch.zeros(2, 3, 4, 4, dtype=torch.uint8), step=0)
    tracker.outcome({"seed": 0}, {"final/top1": 1.0})


def warnings_in(text: str) -> list[str]:
    return re.findall("warning: .*", text)


@pytest.mark.parametrize("when", ["opening", "telling"])
def test_a_full_disk_is_warned_of_once_and_ends_nothing(tmp_path: Path, capsys, monkeypatch, when: str) -> None:
    if when == "opening":
        tmp_path = tmp_path / "not-there"
    else:
        init = TensorBoard.__init__

        def onto_full_disk(self, *args, **options) -> None:
            init(self, *args, **options)
            self.file.close()
            self.records._writer = self.file = Path("/dev/full").open("wb")  # noqa: SLF001, SIM115

        monkeypatch.setattr(TensorBoard, "__init__", onto_full_disk)
    with tracked(tmp_path, step=0, name=None, tags={}) as trackers:
        tell_all(trackers)
    (warning,) = warnings_in(capsys.readouterr().err)
    assert "TensorBoard is told nothing more of this run, which goes on" in warning
    assert ("No space left" if when == "telling" else "No such file") in warning


@pytest.mark.slow
def test_one_that_fails_leaves_the_others_be(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://")
    with tracked(tmp_path, step=0, name="mlflow", tags={}) as trackers:
        tell_all(trackers)
    (warning,) = warnings_in(capsys.readouterr().err)
    assert warning.startswith("warning: mlflow is told nothing more")
    assert len(EventAccumulator(str(tmp_path)).Reload().Scalars("loss")) == 2


def test_an_interruption_is_not_swallowed(tmp_path: Path, monkeypatch) -> None:
    def interrupt(*args, **options) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TensorBoard, "scalars", interrupt)
    with pytest.raises(KeyboardInterrupt), tracked(tmp_path, step=0, name=None, tags={}) as trackers:
        trackers.scalars({"loss": 1.0}, step=1)


def test_a_tracker_that_is_not_installed_is_named_with_its_extra(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with (
        pytest.raises(UserError, match=r"runtime\.track: mlflow is not installed") as fault,
        tracked(tmp_path, step=0, name="mlflow", tags={}),
    ):
        pass
    assert "pip install 'namprune[mlflow]'" in (fault.value.hint or "")
    assert not list(tmp_path.iterdir())
