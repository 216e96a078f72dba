"""What the processes of a group say to each other. Run as a script, this file is each of two."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from namprune import distributed
from namprune.device import pick_device
from namprune.errors import UserError

Runner = Callable[[str], list[Any]]


def _network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    network[1].running_mean.normal_()
    return network


def _refusals() -> list[str]:
    refused = []
    for name in ("cuda:0", "mps"):
        try:
            pick_device(name)
        except UserError as error:
            refused.append(error.message)
    return refused


def _main(out: Path) -> None:
    with distributed.joined():
        rank = distributed.rank()
        network = _network(rank)
        distributed.take_buffers(network)
        with distributed.first_alone():
            passed = time.monotonic_ns()
            time.sleep(0.05 * (rank == 0))
        replica = distributed.replicated(network)
        with distributed.alone(replica):
            replica(torch.full((2, 3), 1.0 + rank)).sum().backward()
        own = network[0].bias.grad.tolist()
        replica(torch.randn(2, 3)).sum().backward()
        found = {
            "size": distributed.size(),
            "largest": distributed.largest(5 * rank),
            "summed": distributed.summed(torch.tensor([1.0, rank])).tolist(),
            "gathered": distributed.gathered(torch.tensor([[rank, 7]])).tolist(),
            "mean": network[1].running_mean.tolist(),
            "weight": network[0].weight.tolist(),
            "passed": passed,
            "own": own,
            "shared": network[0].weight.grad.tolist(),
            "share": [distributed.share(8), distributed.share(1)],
            "refused": _refusals(),
        }
        (out / f"{rank}.json").write_text(json.dumps(found), encoding="utf-8")
        distributed.dismiss()
        assert rank == 0
        assert distributed.size() == 1
        distributed.wait()


@pytest.mark.slow
def test_two_processes_are_a_group(in_two_processes: Runner) -> None:
    first, second = found = in_two_processes(__file__)
    assert [one["size"] for one in found] == [2, 2]
    assert [one["largest"] for one in found] == [5, 5]
    assert [one["summed"] for one in found] == [[2.0, 1.0]] * 2
    assert [one["gathered"] for one in found] == [[[[0, 7]], [[1, 7]]]] * 2
    assert [one["share"] for one in found] == [[4, 1]] * 2
    assert second["passed"] >= first["passed"] + 50_000_000  # both clocks are the machine's
    assert [len(one["refused"]) for one in found] == [2, 2]
    assert "one device for 2 processes" in first["refused"][0]
    reference = _network(0)
    for one in found:  # begin as the first, and share the gradient
        assert one["weight"] == reference[0].weight.tolist()
        assert one["shared"] == first["shared"]
    assert first["own"] != second["own"] or first["own"] == [0.0, 0.0]


def test_alone_nothing_happens() -> None:
    network, tensor = _network(0), torch.ones(2)
    assert (distributed.size(), distributed.rank(), distributed.largest(3)) == (1, 0, 3)
    assert distributed.summed(tensor) is tensor
    assert distributed.replicated(network) is network
    assert distributed.share(3) == 3
    assert distributed.own(torch.device("cuda")) == torch.device("cuda")
    assert "RANK" not in os.environ
    distributed.dismiss()


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
