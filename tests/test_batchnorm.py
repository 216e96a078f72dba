"""BatchNorms over a batch that two processes share. Run as a script, this file is each of them."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from namprune import distributed
from namprune.attention.nam import NAM
from namprune.batchnorm import whole_batch

Runner = Callable[[str], list[Any]]


def _network(dtype: torch.dtype) -> nn.Module:
    """Plain BatchNorms of both kinds, one of them without factors, and both parts of NAM."""
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), NAM(8, (6, 6), part="both", detach=False)),
        *(nn.BatchNorm2d(8, affine=False), nn.Flatten(), nn.Linear(288, 5), nn.BatchNorm1d(5)),
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network.to(dtype).to(memory_format=torch.channels_last)


def _passed(x: Tensor, target: Tensor, *, on: bool = True) -> dict[str, Tensor]:
    """Output and gradients, by name, and the running statistics after two steps."""
    network, x = _network(x.dtype), x.requires_grad_()
    for _ in range(2):
        network.zero_grad()
        x.grad = None
        with whole_batch(on):
            y = network(x)
        ((y - target) ** 2).mean().backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    statistics = {name: buffer for name, buffer in network.named_buffers() if buffer.numel()}
    return {"y": y.detach(), "x": x.grad, **gradients, **statistics}


def _batch(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return 3 + torch.randn(8, 3, 8, 8).to(dtype), torch.randn(8, 5).to(dtype)


def _differences(dtype: torch.dtype) -> dict[str, float]:
    """Of the part that this process has from the whole, relative to its largest value or 1."""
    x, target = _batch(dtype)
    whole = _passed(x.clone(), target, on=False)
    rank, size = distributed.rank(), distributed.size()
    part = _passed(x.chunk(size)[rank].clone(), target.chunk(size)[rank])
    parameters = {name for name, _ in _network(dtype).named_parameters()}
    found = {}
    for name, mine in part.items():
        reference = whole[name]
        if name in ("y", "x"):  # the mean over a part weighs a picture twice as much
            reference = reference.chunk(size)[rank] * (size if name == "x" else 1)
        elif name in parameters:
            mine = distributed.summed(mine.clone()) / size
        found[name] = float((mine - reference).abs().max() / reference.abs().max().clamp_min(1.0))
    return found


def _main(out: Path) -> None:
    with distributed.joined():
        found = {str(dtype): _differences(dtype) for dtype in (torch.float32, torch.float64)}
        (out / f"{distributed.rank()}.json").write_text(json.dumps(found), encoding="utf-8")


@pytest.mark.slow
def test_two_parts_are_normalized_as_their_whole(in_two_processes: Runner) -> None:
    for found in in_two_processes(__file__):
        assert max(found["torch.float64"].values()) < 1e-12
        assert max(found["torch.float32"].values()) < 1e-5


def test_alone_it_is_torchs_own_to_the_bit() -> None:
    x, target = _batch(torch.float32)
    on, off = _passed(x.clone(), target), _passed(x.clone(), target, on=False)
    assert all(torch.equal(on[name], off[name]) for name in off)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
