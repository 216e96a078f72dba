"""Peaks against tensors of known size."""

import json
import os
import subprocess
import sys

import pytest
import torch

from namprune.measure.memory import FRUGAL, allocated_peak

MB = 2**20

SCRIPT = """
import json
import torch
from namprune.measure.memory import resident_peak

MB = 2**20

def start(batch):
    torch.ones(100 * MB, dtype=torch.uint8)  # loading takes it, and gives it back
    weights = torch.ones(20 * MB, dtype=torch.uint8)

    def forward():
        hidden = torch.ones(batch * 8 * MB, dtype=torch.uint8)
        hidden = torch.ones(batch * 4 * MB, dtype=torch.uint8) + hidden[: batch * 4 * MB]
        return hidden[0] + weights[0]

    return forward

print(json.dumps([resident_peak(start, batch) for batch in (4, 1)]))
"""


def start(batch: int):
    """The same on a GPU."""
    weights = torch.ones(20 * MB, dtype=torch.uint8, device="cuda")

    def forward() -> torch.Tensor:
        hidden = torch.ones(batch * 8 * MB, dtype=torch.uint8, device="cuda")
        hidden = torch.ones(batch * 4 * MB, dtype=torch.uint8, device="cuda") + hidden[: batch * 4 * MB]
        return hidden[0] + weights[0]

    return forward


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells the peak")
def test_resident_memory_is_weights_and_what_lives_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | FRUGAL | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    four, one = json.loads(done.stdout)
    # 8 MB of the first, 4 of the ones and 4 of their sum, for each picture, beside the weights
    assert one == pytest.approx((20 + 16) * MB, abs=1.5 * MB)
    assert four == pytest.approx((20 + 64) * MB, abs=1.5 * MB)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_allocated_memory_is_weights_and_what_lives_at_once() -> None:
    for batch in (4, 1):
        peak = allocated_peak(start, batch, device=torch.device("cuda"))
        assert peak == pytest.approx((20 + 16 * batch) * MB, abs=MB)
