"""A run's network for Python: as accurate as the run says, and nothing but what the run wrote."""

import pytest
import torch

from namprune.data import build_data
from namprune.errors import RunError
from namprune.measure import accuracy
from namprune.runs import RunFolder, RunStore
from namprune.stages.load import load


def test_it_is_as_accurate_as_the_run_says(trained: tuple[RunStore, RunFolder], small_recipe) -> None:
    _, run = trained
    network = load(run)
    data = build_data(small_recipe().data, device=torch.device("cpu"))
    assert accuracy(network, data.test.ordered(batch_size=128)).top1 == run.result().final.test.top1
    assert not network.training


def test_it_is_on_the_cpu_wherever_tensors_are_made(trained: tuple[RunStore, RunFolder]) -> None:
    with torch.device("meta"):
        network = load(trained[1])
    assert {tensor.device.type for tensor in network.state_dict().values()} == {"cpu"}


def test_weights_that_the_run_did_not_write_are_refused(store: RunStore) -> None:
    run = store.open("dense")
    run.weights.write_bytes(run.weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(RunError, match=r"model\.safetensors is not what the run wrote"):
        load(run)
