from collections.abc import Callable

import torch
from torch import Tensor, nn

from namprune.attention import NAM
from namprune.pruning import recalibrate

Batch = tuple[Tensor, Tensor]


def _batches(count: int, *, channels: int = 3, size: int = 8) -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros(size, dtype=torch.int64)
    return [(3 * torch.randn(size, channels, 4, 4, generator=generator) + step, labels) for step in range(count)]


def _means(pictures: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Means over the batches of the channels' means and unbiased variances."""
    rows = [x.transpose(0, 1).flatten(1) for x in pictures]  # (C, N * H * W)
    return torch.stack([row.mean(1) for row in rows]).mean(0), torch.stack([row.var(1) for row in rows]).mean(0)


def test_statistics_are_the_means_over_the_batches() -> None:
    model, batches = nn.Sequential(nn.BatchNorm2d(3)), _batches(7)
    model[0].running_mean += 100  # what was there before does not count
    assert recalibrate(model, batches, limit=5) == 5
    mean, variance = _means([x for x, _ in batches[:5]])
    torch.testing.assert_close(model[0].running_mean, mean)
    torch.testing.assert_close(model[0].running_var, variance)


def test_fewer_batches_than_the_limit_are_enough() -> None:
    model, batches = nn.Sequential(nn.BatchNorm2d(3)), _batches(2)
    assert recalibrate(model, batches, limit=32) == 2
    torch.testing.assert_close(model[0].running_mean, _means([x for x, _ in batches])[0])


def test_deeper_layers_see_the_batch_statistics_of_the_earlier() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    batches = _batches(3)
    recalibrate(model, batches, limit=3)
    with torch.no_grad():
        first = [
            (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True, correction=0) for x, _ in batches
        ]
        mean, variance = _means([model[1](x) for x in first])
    torch.testing.assert_close(model[2].running_mean, mean, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(model[2].running_var, variance, atol=1e-5, rtol=1e-4)


def test_nams_own_statistics_are_re_estimated_too() -> None:
    model, batches = nn.Sequential(NAM(3, (4, 4), part="both")), _batches(4)
    nam = model[0]
    recalibrate(model, batches, limit=4)
    mean, variance = _means([x for x, _ in batches])
    torch.testing.assert_close(nam.channel.gate.bn.running_mean, mean)
    torch.testing.assert_close(nam.channel.gate.bn.running_var, variance)
    with torch.no_grad():
        gated = [nam.channel.train()(x) for x, _ in batches]
    positions = [x.reshape(-1, 16, 1, 1) for x in gated]  # every picture and channel is a sample of the 16 pixels
    torch.testing.assert_close(nam.spatial.gate.bn.running_mean, _means(positions)[0])


def test_nothing_else_changes(make_network: Callable[..., nn.Module]) -> None:
    model = make_network("mobilenetv2", "both")
    model.stem.eval()
    momenta = [module.momentum for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    parameters = [parameter.clone() for parameter in model.parameters()]
    modes = [module.training for module in model.modules()]
    pictures = torch.randn(4, 3, 8, 8)
    labels = torch.zeros(4, dtype=torch.int64)
    state = torch.random.get_rng_state()
    recalibrate(model, [(pictures, labels)], limit=1)
    assert torch.equal(torch.random.get_rng_state(), state)  # dropout stayed out of it
    assert [module.momentum for module in model.modules() if isinstance(module, nn.BatchNorm2d)] == momenta
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(old, new) for old, new in zip(parameters, model.parameters(), strict=True))
