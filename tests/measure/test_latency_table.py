"""What was measured once is found again, by those it is true for and by nobody else."""

import pytest
import torch
from torch import nn

from namprune.measure import LatencyTable

CPU = torch.device("cpu")
KEY = {"batch": 4, "channels_last": True, "device": CPU}


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "namprune"


def _never():
    raise AssertionError("it was measured before")


def test_a_second_table_finds_what_the_first_took(cache) -> None:
    model = nn.Linear(3, 2)
    assert LatencyTable.of(model, (3, 8, 8), **KEY).look_up("a:1", lambda: (0.5, 1.0)) == (0.5, 1.0)
    again = LatencyTable.of(nn.Linear(3, 2), (3, 8, 8), **KEY)  # other weights, the same layers
    assert again.look_up("a:1", _never) == (0.5, 1.0)
    assert again.look_up("a:2", lambda: (0.7, 1.0)) == (0.7, 1.0)
    assert [path.suffix for path in cache.iterdir()] == [".json"]


@pytest.mark.parametrize(
    ("model", "shape", "changes"),
    [
        (nn.Linear(3, 1), (3, 8, 8), {}),
        (nn.Linear(3, 2), (3, 9, 8), {}),
        (nn.Linear(3, 2), (3, 8, 8), {"batch": 8}),
        (nn.Linear(3, 2), (3, 8, 8), {"channels_last": False}),
    ],
)
def test_it_holds_for_one_network_and_one_way_to_run_it(model, shape, changes) -> None:
    LatencyTable.of(nn.Linear(3, 2), (3, 8, 8), **KEY).look_up("a:1", lambda: (0.5, 1.0))
    assert LatencyTable.of(model, shape, **(KEY | changes)).taken == {}


def test_without_a_place_to_write_it_still_answers(cache) -> None:
    cache.write_text("a file where the folder should be")
    assert LatencyTable.of(nn.Linear(3, 2), (3, 8, 8), **KEY).look_up("a:1", lambda: (0.5, 1.0)) == (0.5, 1.0)
