import itertools
import random

import pytest
import torch
from torch import Tensor

from namprune.choices import Scope
from namprune.pruning.allocate import allocate, least_width


def _scores(*rows: list[float]) -> list[Tensor]:
    return [torch.tensor(row) for row in rows]


def _kept(scores: list[Tensor], **options: object) -> list[list[int]]:
    return [keep.tolist() for keep in allocate(scores, **options)]


def _random_groups(seed: int) -> list[Tensor]:
    generator = random.Random(seed)
    sizes = [generator.choice([1, 2, 3, 7, 8, 16, 24, 40]) for _ in range(6)]
    # few distinct values, so that ties are everywhere
    return [torch.tensor([generator.choice([0.0, 0.0, 0.25, 0.5, 1.0, 2.0]) for _ in range(size)]) for size in sizes]


def test_global_takes_the_lowest_of_all() -> None:
    scores = _scores([0.9, 0.1, 0.8, 0.2], [0.3, 0.7, 0.6, 0.15])
    assert _kept(scores, ratio=0.5) == [[0, 2], [1, 2]]


def test_local_takes_the_share_of_each() -> None:
    scores = _scores([0.1, 0.2, 0.3, 0.4], [9.0, 8.0, 7.0, 6.0, 5.0, 4.0])
    assert _kept(scores, ratio=0.5, scope="local") == [[2, 3], [0, 1, 2]]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("ratio", [0.1, 0.45, 0.9])
def test_global_is_a_sort_that_stops_at_the_floor(seed: int, ratio: float) -> None:
    scores = _random_groups(seed)
    left = [set(range(len(score))) for score in scores]
    wanted = int(ratio * sum(map(len, scores)) + 0.5)
    channels = [(float(s), group, i) for group, score in enumerate(scores) for i, s in enumerate(score)]
    for _, group, index in sorted(channels):
        if wanted and len(left[group]) > least_width(len(scores[group]), floor=0.2, round_to=1):
            left[group].remove(index)
            wanted -= 1
    assert _kept(scores, ratio=ratio, floor=0.2) == [sorted(group) for group in left]


@pytest.mark.parametrize(
    ("scope", "floor", "round_to", "ratio"),
    [*itertools.product(["global", "local"], [0.01, 0.1, 0.5], [1, 3, 8, 64], [0.05, 0.5, 0.99])],
)
def test_floor_divisor_and_count_hold(scope: Scope, floor: float, round_to: int, ratio: float) -> None:
    for seed in range(5):
        scores = _random_groups(seed)
        kept = allocate(scores, ratio=ratio, scope=scope, floor=floor, round_to=round_to)
        removed = [len(score) - len(keep) for score, keep in zip(scores, kept, strict=True)]
        for score, keep, gone in zip(scores, kept, removed, strict=True):
            assert gone == 0 or len(keep) % round_to == 0
            assert len(keep) >= max(1, floor * len(score))
            assert gone == 0 or score[keep].min() >= score[list(set(range(len(score))) - set(keep.tolist()))].max()
            assert scope == "global" or gone <= ratio * len(score) + 0.5
        assert sum(removed) <= ratio * sum(map(len, scores)) + 0.5 or scope == "local"


def test_ties_at_zero_go_only_as_far_as_asked() -> None:
    scores = _scores([0.0] * 8 + [1.0] * 2, [0.0] * 8 + [1.0] * 2)
    kept = _kept(scores, ratio=0.3)
    assert sum(map(len, kept)) == 14


def test_a_dead_group_keeps_its_floor() -> None:
    scores = _scores([0.0] * 20, [5.0] * 20)
    assert list(map(len, _kept(scores, ratio=0.5, floor=0.1))) == [2, 18]


def test_equal_scores_still_give_the_exact_count() -> None:
    kept = _kept([torch.ones(10) for _ in range(4)], ratio=0.3)
    assert sum(map(len, kept)) == 28


def test_a_divisor_wider_than_a_layer_leaves_it() -> None:
    scores = [torch.rand(12), torch.rand(64)]
    assert list(map(len, _kept(scores, ratio=0.5, round_to=16))) == [12, 32]


def test_a_step_too_wide_for_the_rest_leaves_it_to_a_narrower_one() -> None:
    # 4 may go; the first group's cheaper step is 8 wide, the second's 4
    scores = _scores([0.1] * 16, [0.9] * 12)
    assert list(map(len, _kept(scores, ratio=1 / 7, round_to=8))) == [16, 8]


@pytest.mark.parametrize(
    ("size", "floor", "round_to", "width"),
    [(20, 0.1, 1, 2), (20, 0.11, 1, 3), (20, 0.1, 8, 8), (5, 0.1, 8, 5), (100, 0.07, 1, 7), (3, 0.01, 1, 1)],
)
def test_least_width_by_hand(size: int, floor: float, round_to: int, width: int) -> None:
    assert least_width(size, floor=floor, round_to=round_to) == width


def test_a_ratio_of_its_own_is_apart_from_the_others() -> None:
    scores = _scores([0.0] * 10, [0.1] * 10, [0.9] * 10)
    assert list(map(len, _kept(scores, ratio=0.5, fixed={0: 0.0}))) == [10, 1, 9]
    assert list(map(len, _kept(scores, ratio=0.2, fixed={2: 0.7}, scope="local"))) == [8, 8, 3]
    assert list(map(len, _kept(scores, ratio=0.5, fixed={0: 0.2, 1: 0.99, 2: 0.3}))) == [8, 1, 7]


@pytest.mark.parametrize(("scope", "round_to"), [("global", 1), ("local", 1), ("local", 4)])
def test_what_counts_from_the_full_width_ends_where_one_cut_would(scope: Scope, round_to: int) -> None:
    for seed in range(5):
        scores = _random_groups(seed)
        options = {"scope": scope, "floor": 0.3, "round_to": round_to, "fixed": {1: 0.5}}
        once = _kept(scores, ratio=0.6, **options)
        first = allocate(scores, ratio=0.25, **(options | {"fixed": {1: 0.2}}))
        left = [score[keep] for score, keep in zip(scores, first, strict=True)]
        second = allocate(left, ratio=0.6, full=list(map(len, scores)), **options)
        assert list(map(len, second)) == list(map(len, once))


def test_nothing_goes_where_more_is_gone_already() -> None:
    assert list(map(len, _kept([torch.rand(5)], ratio=0.4, full=[10]))) == [5]


def test_what_goes_at_once_goes_by_its_mean() -> None:
    units = torch.tensor([0, 1, 0, 1, 2, 2])  # in turns, then side by side
    scores = torch.tensor([9.0, 1.0, 0.0, 2.0, 1.0, 1.0])  # means 4.5, 1.5, 1
    narrow = torch.tensor([1.2, 3.0])

    def kept(ratio: float, **options: int) -> list[list[int]]:
        both = allocate([scores, narrow], ratio=ratio, floor=0.0, units=[units, None], **options)
        return [keep.tolist() for keep in both]

    assert kept(0.25) == [[0, 1, 2, 3], [0, 1]]
    assert kept(0.37) == [[0, 1, 2, 3], [1]]  # three of eight: the cheapest unit, then one that goes by itself
    assert kept(0.62) == [[0, 2], [1]]
    assert kept(0.5, round_to=4) == [[0, 1, 2, 3], [0, 1]]  # four of six is the only multiple below
    assert allocate([torch.ones(6)], ratio=0.4, units=[units])[0].tolist() == [1, 3, 4, 5]  # of equal ones the first
