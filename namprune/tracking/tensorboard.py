"""A run as TensorBoard reads it: one event file per sitting in the run's folder, under no digest.

`tensorboard --logdir runs` shows the curves of all runs and, under HPARAMS, a row for each finished one. Events are
written at once, by no thread, so that a fault comes where it is made.
"""

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.summary.writer.record_writer import RecordWriter
from torch import Tensor
from torch.nn import functional
from torch.utils.tensorboard import summary

from namprune.tracking.tracker import Setting

BINS = 20
"""Of a histogram."""


class TensorBoard:
    """Tells TensorBoard of the run in `folder`; the first event hides earlier ones from `step` on."""

    def __init__(self, folder: Path, *, step: int, tags: Mapping[str, str]) -> None:
        self.tags = tags
        # TensorBoard reads the files of a folder in the order of their names
        seconds, rest = divmod(time.time_ns(), 10**9)
        self.file = (folder / f"events.out.tfevents.{seconds:010d}.{rest:09d}").open("xb")
        self.records = RecordWriter(self.file)
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        self._write(Event(wall_time=time.time(), step=step, session_log=SessionLog(status=SessionLog.START)))
        self.file.flush()

    def scalars(self, values: Mapping[str, float], *, step: int) -> None:
        """A point of each curve."""
        for name, value in values.items():
            self._add(summary.scalar(name, value), step)  # type: ignore[no-untyped-call]
        self.file.flush()

    def histogram(self, name: str, values: Tensor, *, step: int) -> None:
        """In bins of equal width."""
        self._add(summary.histogram(name, values.numpy(), bins=BINS), step)  # type: ignore[no-untyped-call]

    def pictures(self, name: str, images: Tensor, *, step: int) -> None:
        """All as one, in rows."""
        grid = _grid(images)
        self._add(summary.image(name, grid, dataformats="CHW"), step)  # type: ignore[no-untyped-call]

    def outcome(self, settings: Mapping[str, Setting], metrics: Mapping[str, float]) -> None:
        """A row of the table of hyperparameters.

        No experiment is described, which would have to be the same for all runs: TensorBoard then takes the columns
        from all rows, and knows in which of them they differ.
        """
        self.scalars(metrics, step=0)
        start = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
        for name, setting in {**settings, **self.tags}.items():
            if isinstance(setting, bool):
                start.hparams[name].bool_value = setting
            elif isinstance(setting, str):
                start.hparams[name].string_value = setting
            else:
                start.hparams[name].number_value = setting
        end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time())
        self._add_hparams(metadata.SESSION_START_INFO_TAG, session_start_info=start)
        self._add_hparams(metadata.SESSION_END_INFO_TAG, session_end_info=end)
        self.file.flush()

    def close(self) -> None:
        """Ends the file."""
        self.file.close()

    def _add_hparams(self, tag: str, **content: Any) -> None:
        data = plugin_data_pb2.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content)
        added = Summary()
        added.value.add(tag=tag, metadata=metadata.create_summary_metadata(data), tensor=metadata.NULL_TENSOR)
        self._add(added, 0)

    def _add(self, added: Any, step: int) -> None:
        self._write(Event(wall_time=time.time(), step=step, summary=added))

    def _write(self, event: Event) -> None:
        self.records.write(event.SerializeToString())


def _grid(images: Tensor) -> Tensor:
    """(N, C, H, W) as one picture (C, rows * H, columns * W), as square as may be, with black where none is left."""
    count, channels, height, width = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    filled = functional.pad(images, (0, 0, 0, 0, 0, 0, 0, rows * columns - count))
    placed = filled.view(rows, columns, channels, height, width).permute(2, 0, 3, 1, 4)  # (C, rows, H, columns, W)
    return placed.reshape(channels, rows * height, columns * width)
