import math

import pytest
import torch
from torch import nn

from namprune.pruning import IMPORTANCES


@pytest.mark.parametrize(("name", "p"), [("l1", 1), ("l2", 2)])
def test_filter_norms_are_the_mean_over_layers(make_group, name: str, p: int) -> None:
    layers = [nn.Conv2d(3, 5, 3), nn.Conv2d(2, 5, 1)]
    norms = [torch.stack([torch.linalg.vector_norm(row, p) for row in layer.weight]) for layer in layers]
    expected = sum(norm / norm.mean() for norm in norms) / 2
    torch.testing.assert_close(IMPORTANCES[name](make_group(*layers, size=5)), expected.detach())


def test_fpgm_is_the_distance_to_the_other_filters(make_group) -> None:
    layers = [nn.Conv2d(3, 5, 3), nn.Linear(7, 5)]
    expected = torch.zeros(5)
    for layer in layers:
        rows = layer.weight.detach().flatten(1).tolist()
        distances = torch.tensor([sum(math.dist(one, other) for other in rows) for one in rows])
        expected += distances / distances.mean() / 2
    torch.testing.assert_close(IMPORTANCES["fpgm"](make_group(*layers, size=5)), expected)


def test_fpgm_lets_the_middle_go_and_not_the_smallest(make_group) -> None:
    conv = nn.Conv2d(1, 5, 1)
    conv.weight.data = torch.tensor([0.1, 9.0, 10.0, 11.0, 20.0])[:, None, None, None]
    group = make_group(conv, size=5)
    assert IMPORTANCES["fpgm"](group).argmin() == 2
    assert IMPORTANCES["l2"](group).argmin() == 0


def test_fpgm_sees_small_distances_between_large_filters(make_group) -> None:
    conv = nn.Conv2d(1, 40, 1)  # as many as a matrix product would be taken for
    conv.weight.data = (1000 + torch.arange(40.0) / 100)[:, None, None, None]
    rows = conv.weight.detach().double().flatten()
    distances = (rows[:, None] - rows).abs().sum(1)
    scores = IMPORTANCES["fpgm"](make_group(conv, size=40))
    torch.testing.assert_close(scores.double(), distances / distances.mean(), rtol=1e-3, atol=0)


def test_lamp_is_a_share_of_what_is_not_smaller(make_group) -> None:
    conv, linear = nn.Conv2d(2, 4, 1), nn.Linear(2, 4)
    conv.weight.data = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, -5.0], [2.0, 0.0]])[:, :, None, None]
    linear.weight.data = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 2.0], [0.0, 0.0]])
    # squared norms 25, 1, 25, 4 (two are equal) and 0, 2, 4, 0
    by_conv = torch.tensor([25 / 50, 1 / 55, 25 / 50, 4 / 54])
    by_linear = torch.tensor([0, 2 / 6, 4 / 4, 0])
    scores = IMPORTANCES["lamp"](make_group(conv, linear, size=4))
    torch.testing.assert_close(scores, (by_conv + by_linear) / 2)


@pytest.mark.parametrize("name", ["l1", "l2", "fpgm", "lamp"])
def test_a_layer_at_zero_has_zeros(make_group, name: str) -> None:
    conv = nn.Conv2d(3, 4, 1)
    nn.init.zeros_(conv.weight)
    assert IMPORTANCES[name](make_group(conv, size=4)).tolist() == [0, 0, 0, 0]
