import pytest
import torch
from torch import nn

from namprune.measure import latency
from namprune.measure.latency import interleaved_latency, on_threads

SHAPE = (3, 8, 8)


def network(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, channels, 3), nn.BatchNorm2d(channels), nn.ReLU(), nn.Flatten(), nn.Linear(36 * channels, 2)
    )


@pytest.fixture(autouse=True)
def _short_blocks(monkeypatch) -> None:
    monkeypatch.setattr(latency, "BLOCK_SECONDS", 0.002)


@pytest.mark.parametrize("channels_last", [True, False])
def test_each_network_gets_its_own_positive_time(channels_last) -> None:
    models = {"wide": network(128), "narrow": network(2)}
    times = interleaved_latency(models, SHAPE, batch=16, channels_last=channels_last, blocks=5)
    assert list(times) == ["wide", "narrow"]
    for found in times.values():
        assert (found.batch, found.blocks) == (16, 5)
        assert found.median > 0
        assert found.iqr >= 0
    assert times["wide"].median > times["narrow"].median  # 64 times the work


def test_networks_stay_usable() -> None:
    model = network(2)
    x = torch.randn(4, *SHAPE)
    with torch.no_grad():
        expected = model.eval()(x)
    threads = torch.get_num_threads()
    interleaved_latency({"one": model}, SHAPE, batch=1, blocks=2)
    assert torch.get_num_threads() == threads
    assert model[1].num_batches_tracked == 0
    torch.testing.assert_close(model(x), expected)
    model.train()(x).sum().backward()


def test_threads_are_put_back_whatever_happens() -> None:
    before = torch.get_num_threads()
    seen = []

    def fail() -> None:
        with on_threads(before + 2) as count:
            seen.extend((count, torch.get_num_threads()))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [before + 2] * 2
    assert torch.get_num_threads() == before
