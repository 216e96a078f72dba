"""A run as MLflow keeps it: numbers per epoch, settings, outcome and tags; no weights, pictures or histograms.

Where MLFLOW_TRACKING_URI says nothing else, in `mlflow.db` beside the runs, which
`mlflow ui --backend-store-uri sqlite:///runs/mlflow.db` shows.
"""

import logging
import os
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from torch import Tensor

from namprune.tracking.tracker import Setting

OWN = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Settings where there are none: it reports to nobody, a server that is gone does not hold up a training, and stdout is
for results."""

for name, value in OWN.items():
    os.environ.setdefault(name, value)

from mlflow import MlflowClient  # noqa: E402 - reads the settings as it is imported
from mlflow.entities import Metric, Param  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402

EXPERIMENT = "namprune"
EVERY = 10.0
"""Seconds between two writes, each of which takes as long as many steps of a small network."""

MOST = 500
"""Metrics that wait; MLflow takes 1,000 at once."""

ID_FILE = "mlflow.id"
"""In the folder of a run: which of MLflow's runs it is."""


class MLflow:
    """Tells MLflow of the run in `folder`; of the numbers of steps that come again it keeps the first."""

    def __init__(self, folder: Path, *, step: int, tags: Mapping[str, str]) -> None:  # noqa: ARG002 - see above
        logging.getLogger("alembic").setLevel(logging.WARNING)  # which makes and checks the tables, at length
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self.folder, self.tags, self.status = folder.resolve(), tags, "KILLED"
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{quote(str(self.folder.parent / 'mlflow.db'))}"
        self.client = MlflowClient(tracking_uri=uri)
        self.told: set[tuple[str, int]] = set()
        self.waiting: list[Metric] = []
        self.written = -float("inf")

    def scalars(self, values: Mapping[str, float], *, step: int) -> None:
        """Metrics of a step, written with those that follow soon."""
        now = int(1000 * time.time())
        self.waiting += [Metric(name, value, now, step) for name, value in values.items()]
        if time.monotonic() - self.written > EVERY or len(self.waiting) > MOST:
            self._write(self.run)

    def histogram(self, name: str, values: Tensor, *, step: int) -> None:
        """MLflow has none."""

    def pictures(self, name: str, images: Tensor, *, step: int) -> None:
        """MLflow takes them as files only, which stay where they are."""

    def outcome(self, settings: Mapping[str, Setting], metrics: Mapping[str, float]) -> None:
        """Parameters, and metrics without an epoch."""
        self.client.log_batch(self.run, params=[Param(name, str(setting)) for name, setting in settings.items()])
        self.scalars(metrics, step=0)
        self.status = "FINISHED"

    def close(self) -> None:
        """Say how the run ended."""
        if run := self.__dict__.pop("run", None):
            self._write(run)
            self.client.set_terminated(run, status=self.status)

    def _write(self, run: str) -> None:
        new = [metric for metric in self.waiting if (metric.key, metric.step) not in self.told]
        self.waiting.clear()
        self.client.log_batch(run, metrics=new)
        self.written = time.monotonic()

    @cached_property
    def run(self) -> str:
        """Of MLflow's run: taken up where an earlier sitting began it, made where there is none."""
        file = self.folder / ID_FILE
        try:
            known = self.client.get_run(file.read_text(encoding="utf-8"))
        except (OSError, MlflowException):  # another server has none of this id
            return self._begun(file)
        known_id: str = known.info.run_id
        for key in known.data.metrics:
            self.told |= {(key, point.step) for point in self.client.get_metric_history(known_id, key)}
        self.client.update_run(known_id, status="RUNNING")
        return known_id

    def _begun(self, file: Path) -> str:
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        key = experiment.experiment_id if experiment else self.client.create_experiment(EXPERIMENT)
        made = self.client.create_run(key, run_name=self.folder.name, tags=dict(self.tags))
        file.write_text(made.info.run_id, encoding="utf-8")
        run_id: str = made.info.run_id
        return run_id
