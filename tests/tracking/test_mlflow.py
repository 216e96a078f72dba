"""What MLflow keeps of a run in its embedded database, without a word to anyone else."""

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import torch

from namprune.runs import RunStore
from namprune.tracking.mlflow import ID_FILE, MLflow

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # those of its database layer
]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Iterator[Path]:
    """A folder of runs with MLflow's database, made where no socket can be opened and nothing else is written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(socket, "socket", None)
        patch.setattr(socket, "create_connection", None)
        patch.setattr(socket, "getaddrinfo", None)
        patch.chdir(tmp_path_factory.mktemp("work"))
        root = tmp_path_factory.mktemp("runs") / "50% of a? ü"
        root.mkdir()
        yield root


def opened(root: Path, name: str, **tags: str) -> MLflow:
    (root / name).mkdir(exist_ok=True)
    return MLflow(root / name, step=0, tags=tags)


def test_a_run_is_kept_with_numbers_settings_and_tags(root: Path, capfd) -> None:
    tracker = opened(root, "cut", kind="prune", parent="dense")
    tracker.scalars({"train/loss": 2.0, "train/lr": 0.1}, step=1)
    tracker.scalars({"train/loss": 1.0, "train/lr": 0.1}, step=2)
    tracker.histogram("gamma/stem.1", torch.ones(3), step=2)
    tracker.pictures("first_batch", torch.zeros(1, 3, 4, 4, dtype=torch.uint8), step=0)
    tracker.outcome({"seed": 3, "train.nesterov": True, "attention.name": "nam"}, {"final/test_top1": 0.75})
    tracker.close()
    kept = tracker.client.get_run((root / "cut" / ID_FILE).read_text())
    assert (kept.info.run_name, kept.info.status) == ("cut", "FINISHED")
    assert kept.data.tags.items() >= {"kind": "prune", "parent": "dense"}.items()
    assert kept.data.params == {"seed": "3", "train.nesterov": "True", "attention.name": "nam"}
    assert kept.data.metrics == {"train/loss": 1.0, "train/lr": 0.1, "final/test_top1": 0.75}
    history = tracker.client.get_metric_history(kept.info.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == [(1, 2.0), (2, 1.0)]
    assert tracker.client.get_experiment(kept.info.experiment_id).name == "namprune"
    assert capfd.readouterr() == ("", "")
    assert list(Path.cwd().iterdir()) == []
    assert {path.name for path in root.iterdir()} >= {"mlflow.db", "cut"}
    assert RunStore(root).folders() == ()  # neither the database nor a folder without a recipe is a run


def test_an_interrupted_run_is_taken_up(root: Path) -> None:
    first = opened(root, "dense")
    for step in (1, 2):
        first.scalars({"train/loss": float(step)}, step=step)
    first.close()
    kept = (root / "dense" / ID_FILE).read_text()
    assert first.client.get_run(kept).info.status == "KILLED"
    second = opened(root, "dense")
    for step in (2, 3):
        second.scalars({"train/loss": 10.0 * step}, step=step)
    assert second.client.get_run(kept).info.status == "RUNNING"
    second.outcome({}, {})
    second.close()
    assert (root / "dense" / ID_FILE).read_text() == kept
    history = second.client.get_metric_history(kept, "train/loss")
    assert [(point.step, point.value) for point in history] == [(1, 1.0), (2, 2.0), (3, 30.0)]
    assert second.client.get_run(kept).info.status == "FINISHED"


def test_a_run_that_the_server_does_not_know_is_begun_anew(root: Path) -> None:
    tracker = opened(root, "moved")
    (root / "moved" / ID_FILE).write_text("0" * 32)
    tracker.scalars({"loss": 1.0}, step=1)
    tracker.close()
    assert tracker.client.get_run((root / "moved" / ID_FILE).read_text()).data.metrics == {"loss": 1.0}


def test_the_variable_says_where(root: Path, tmp_path: Path, monkeypatch) -> None:
    uri = f"sqlite:///{quote(str(root / 'mlflow.db'))}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    tracker = opened(tmp_path, "a")
    assert tracker.client.tracking_uri == uri
    tracker.close()  # nothing was told: no run is left behind
    assert [path.name for path in tmp_path.rglob("*")] == ["a"]
