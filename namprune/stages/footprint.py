"""Peak memory of networks on the CPU, asked in a process apart: `python -m namprune.stages.footprint`.

One process does for all, because importing PyTorch takes longer than most measurements, and each is told from what was
resident before it.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from namprune import console
from namprune.export.onnx import OnnxNetwork
from namprune.measure.latency import Forward, eager, on_threads
from namprune.measure.memory import FRUGAL, Start, resident_peak
from namprune.recipe import load_recipe
from namprune.result import record_from_json, to_json
from namprune.runs import RunFolder
from namprune.stages.network import open_network


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What is asked."""

    networks: tuple[str, ...]
    """Folders of runs, which torch runs, and ONNX files, which onnxruntime does."""
    batches: tuple[int, ...]
    threads: int


def footprints(asked: Footprint) -> Iterator[tuple[int, int, int | None]]:
    """Number of a network, batch size and bytes, by batches from small to large; a warning where the process ended
    before the last, as one does that has no memory left."""
    command = [sys.executable, "-P", "-m", "namprune.stages.footprint", to_json(asked)]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as said,
        subprocess.Popen(  # noqa: S603 - ourselves
            command, env=os.environ | FRUGAL, stdout=subprocess.PIPE, stderr=said, text=True, encoding="utf-8"
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        try:
            for line in process.stdout:
                number, batch, peak = json.loads(line)
                yield number, batch, peak
        except BaseException:
            process.kill()
            raise
        if process.wait():
            said.seek(0)
            reason = (said.read().splitlines() or [f"its process ended with {process.returncode}"])[-1]
            console.warn(f"memory was not measured to the end: {reason}")


def onnx_forward(file: Path, batch: int) -> Forward:
    """Passes of an ONNX file, with as many threads as torch has, and noise as input.

    A pass that fails, as one that there is no memory for, raises RuntimeError, as torch's do.
    """
    # By its path: bytes the session would keep, and they would count as memory of the network.
    session = OnnxNetwork(file).session
    (entry,) = session.get_inputs()
    shape = (batch, *entry.shape[1:])
    x = torch.randint(256, shape, dtype=torch.uint8) if entry.type == "tensor(uint8)" else torch.randn(shape)
    fed = {entry.name: x.numpy()}

    def forward() -> object:
        try:
            return session.run(None, fed)
        except Exception as error:  # onnxruntime's have no base of their own
            raise RuntimeError(str(error)) from error

    return forward


def _starter(network: Path) -> Start:
    if network.is_file():
        return lambda batch: onnx_forward(network, batch)
    folder = RunFolder(network)
    recipe = load_recipe(str(folder.recipe))

    def start(batch: int) -> Forward:
        model, result = open_network(folder, recipe)
        return eager(model, result.input_shape, batch=batch, channels_last=recipe.runtime.channels_last)

    return start


def _answer(text: str) -> None:
    asked, answers = record_from_json(Footprint, text, source="footprint"), sys.stdout
    with on_threads(asked.threads), contextlib.redirect_stdout(sys.stderr):  # a user's network may print
        for batch in sorted(asked.batches):
            for number, network in enumerate(asked.networks):
                peak = resident_peak(_starter(Path(network)), batch)
                answers.write(f"{json.dumps([number, batch, peak])}\n")
                answers.flush()


if __name__ == "__main__":
    _answer(sys.argv[1])
