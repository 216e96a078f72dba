"""What TensorBoard reads back of what it was told, by its own reader and its own table of hyperparameters."""

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.hparams import api_pb2, list_session_groups
from tensorboard.plugins.hparams.backend_context import Context

from namprune.tracking.tensorboard import TensorBoard


def opened(folder: Path, *, step: int = 0, **tags: str) -> TensorBoard:
    folder.mkdir(parents=True, exist_ok=True)
    return TensorBoard(folder, step=step, tags=tags)


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"histograms": 0}).Reload()  # all, not the newest alone


def test_what_comes_again_hides_what_was_told_before(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.pictures("pictures", torch.zeros(1, 1, 2, 2, dtype=torch.uint8), step=0)
    for step in (1, 2, 3):
        first.scalars({"loss": float(step)}, step=step)
        first.histogram("gamma", torch.full((4,), float(step)), step=step)
    first.close()
    second = opened(tmp_path, step=2)
    second.scalars({"loss": 20.0}, step=2)
    second.histogram("gamma", torch.full((4,), 20.0), step=2)
    second.close()
    events = read(tmp_path)
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 1.0), (2, 20.0)]
    assert [(e.step, e.histogram_value.max) for e in events.Histograms("gamma")] == [(1, 1.0), (2, 20.0)]
    assert [e.step for e in events.Images("pictures")] == [0]


def test_a_histogram_counts_every_value(tmp_path: Path) -> None:
    values = torch.cat([torch.zeros(30), torch.linspace(0.5, 1, 11)])
    board = opened(tmp_path)
    board.histogram("gamma", values, step=1)
    board.close()
    (event,) = read(tmp_path).Histograms("gamma")
    assert event.histogram_value.num == 41
    assert event.histogram_value.sum == pytest.approx(values.sum().item())
    assert sum(event.histogram_value.bucket) == 41
    assert max(event.histogram_value.bucket) == 30


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_stand_in_rows(tmp_path: Path, channels: int) -> None:
    images = torch.arange(5, dtype=torch.uint8)[:, None, None, None].expand(5, channels, 2, 4) * 50 + 5
    board = opened(tmp_path)
    board.pictures("pictures", images, step=0)
    board.close()
    (event,) = read(tmp_path).Images("pictures")
    shown = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)).convert("L"))
    assert shown[::2, ::4].tolist() == [[5, 55, 105], [155, 205, 0]]
    assert shown.shape == (4, 12)


def test_finished_runs_are_rows_of_one_table(tmp_path: Path) -> None:
    dense, cut, at_work = (opened(tmp_path / name, kind=kind) for name, kind in ROWS)
    dense.outcome({"seed": 0, "attention.name": "nam", "train.nesterov": True}, {"final/test_top1": 0.875})
    cut.outcome({"seed": 0, "prune.ratio": 0.5}, {"final/test_top1": 0.75})
    at_work.scalars({"train/loss": 1.0}, step=1)
    for board in (dense, cut, at_work):
        board.close()
    rows = {group.sessions[0].name: group for group in table(tmp_path)}
    assert rows.keys() == {"dense", "cut"}
    said = {name: {key: value.WhichOneof("kind") for key, value in row.hparams.items()} for name, row in rows.items()}
    of_both = {"seed": "number_value", "kind": "string_value"}
    assert said["dense"] == of_both | {"attention.name": "string_value", "train.nesterov": "bool_value"}
    assert said["cut"] == of_both | {"prune.ratio": "number_value"}
    assert rows["cut"].hparams["prune.ratio"].number_value == 0.5
    assert {name: row.metric_values[0].value for name, row in rows.items()} == {"dense": 0.875, "cut": 0.75}
    assert {row.sessions[0].status for row in rows.values()} == {api_pb2.STATUS_SUCCESS}


ROWS = (("dense", "train"), ("cut", "prune"), ("at-work", "train"))


def table(root: Path) -> list[api_pb2.SessionGroup]:
    """The rows that `tensorboard --logdir root` shows under HPARAMS."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(root)).Reload()
    context = Context(SimpleNamespace(data_provider=MultiplexerDataProvider(multiplexer, str(root))))
    request = RequestContext()
    experiment = context.experiment_from_metadata(
        request, "", True, context.hparams_metadata(request, ""), context.hparams_from_data_provider(request, "", 0)
    )
    columns = [api_pb2.ColParams(metric=metric.name) for metric in experiment.metric_infos]
    asked = api_pb2.ListSessionGroupsRequest(
        allowed_statuses=[api_pb2.STATUS_SUCCESS, api_pb2.STATUS_UNKNOWN],
        col_params=columns,
        start_index=0,
        slice_size=10,
        include_metrics=True,
    )
    return list(list_session_groups.Handler(request, context, "", asked).run().session_groups)
