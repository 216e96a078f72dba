import numpy as np
import pytest
import torch
from torch import nn

from namprune.errors import RunError
from namprune.pruning import ChannelGraph, PruningPlan, Ranking, Sensitivity, make_plan, measure_sensitivity
from namprune.pruning.sensitivity import Curve, rescored


def make_sensitivity(*curves: Curve, top1: float = 0.9) -> Sensitivity:
    return Sensitivity(criterion="bn", recalibrated=0, top1=top1, images=100, ratios=(0.25, 0.5, 0.75), curves=curves)


def make_curve(root: str, *lost: float, channels: int = 8) -> Curve:
    removed = tuple(int(ratio * channels) for ratio in (0.25, 0.5, 0.75))
    return Curve(root=root, channels=channels, removed=removed, saved=(0.0, 0.0, 0.0), lost=lost)


def test_a_channel_scores_what_goes_with_it_and_all_below(make_group) -> None:
    group = make_group(nn.Conv2d(1, 8, 1), size=8, root="a")
    score = torch.tensor([8.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])  # channel 0 is the best, then 7, 6 ...
    found = make_sensitivity(make_curve("a", 2.0, 1.0, 10.0)).drops(group, score)
    # 1 channel: halfway to 2 points; 2 to 4: no less again; 6: 10 points; 8: all of the 90 there are
    assert found.tolist() == pytest.approx([90.0, 1.0, 2.0, 2.0, 2.0, 6.0, 10.0, 50.0])


def test_what_costs_nothing_goes_by_the_scores_of_all_groups(make_group) -> None:
    a, b = (make_group(nn.Conv2d(1, 8, 1), size=8, root=root) for root in "ab")
    curves = make_sensitivity(make_curve("a", 0.0, 0.0, 5.0), make_curve("b", 0.0, 0.0, 0.0))
    ranks = torch.arange(8.0)
    (_, first), (_, second) = rescored([(a, ranks + 0.5), (b, 100 * ranks)], curves)
    order = torch.cat([first, second]).argsort(stable=True).tolist()
    free = [8, 0, 1, 2, 3, 9, 10, 11, 12, 13]  # four of a; six of b, but the first, above them by their scores
    assert order == [*free, 4, 5, 14, 6, 7, 15]  # then as the points rise: 2.5, 5, 45, 47.5, 90, 90


def test_a_gain_is_no_reason_to_cut_more(make_group) -> None:
    group = make_group(nn.Conv2d(1, 8, 1), size=8, root="a")
    found = make_sensitivity(make_curve("a", -3.0, 0.0, 4.0)).drops(group, torch.arange(8).float())
    assert found[:5].tolist() == [0, 0, 0, 0, 2]


def test_scores_that_are_all_alike_leave_the_curves(make_group) -> None:
    group = make_group(nn.Conv2d(1, 8, 1), size=8, root="a")
    ((_, found),) = rescored([(group, torch.zeros(8))], make_sensitivity(make_curve("a", 1.0, 2.0, 3.0)))
    assert found[:6].tolist() == [0.5, 1, 1.5, 2, 2.5, 3]


@pytest.mark.parametrize("curve", [make_curve("b", 0.0, 0.0, 0.0), make_curve("a", 0.0, 0.0, 0.0, channels=16)])
def test_a_group_without_a_curve_is_named(make_group, curve) -> None:
    group = make_group(nn.Conv2d(1, 8, 1), size=8, root="a")
    with pytest.raises(ValueError, match="no sensitivity of a with 8 channels"):
        rescored([(group, torch.arange(8).float())], make_sensitivity(curve))


def test_each_group_is_cut_alone_and_the_rest_is_counted(make_network) -> None:
    model = make_network("resnet20", "channel", width=0.5)
    ranking = Ranking.of(ChannelGraph(model, (3, 8, 8)), (3, 8, 8), criterion="l1")
    asked = []

    def top1(cuts) -> float:
        asked.append(cuts)
        return 0.8 - sum(0.013 * (group.size - len(keep)) for group, keep in cuts)

    found = measure_sensitivity(
        ranking, top1=top1, images=50, criterion="l1", recalibrated=0, ratios=[0.5, 0.05, 0.99, 0.5]
    )
    assert (found.top1, found.ratios) == (0.8, (0.05, 0.5, 0.99))
    sizes = {group.root: (group.size, score) for group, score in ranking.scored}
    assert {curve.root: curve.channels for curve in found.curves} == {root: size for root, (size, _) in sizes.items()}
    for curve in found.curves:
        size = curve.channels
        removed = (round(0.05 * size), size // 2, size - 1)  # none of 8, one of 16 and two of 32; never all
        assert curve.removed == removed
        assert curve.lost == tuple(2 * round(0.65 * gone) for gone in removed)  # in whole pictures, of 2 points each
    (whole, *alone) = asked
    assert whole == ()
    assert all(len(cuts) == 1 for cuts in alone)
    group, keep = alone[0][0]
    lowest = np.argsort(sizes[group.root][1].numpy())[: group.size - len(keep)]
    assert set(range(group.size)) - set(keep.tolist()) == set(lowest.tolist())
    stem, *_ = found.curves
    assert stem.root == "stem.0"  # as in the network, not as traced
    roots = [curve.root for curve in found.curves]
    assert roots.index("stages.0.2.conv1") < roots.index("stages.1.0.conv1") < roots.index("stages.2.2.conv1")
    assert stem.saved[1] == pytest.approx(1 - ranking.cost.after([alone[0][0]]) / ranking.cost.total)


def test_a_sensitive_group_keeps_its_channels(make_network) -> None:
    graph = ChannelGraph(make_network("resnet20", width=0.5), (3, 8, 8))
    tender = "stages.1.1.conv1"
    lost = {group.root: (20.0, 40.0, 60.0) if group.root == tender else (0.0, 0.0, 0.0) for group in graph.groups}
    curves = [make_curve(group.root, *lost[group.root], channels=group.size) for group in graph.groups]
    options = {"ratio": 0.5, "criterion": "bn", "scope": "sensitivity"}
    (as_ranked,) = (cut for cut in make_plan(graph, (3, 8, 8), ratio=0.5, criterion="bn").groups if cut.root == tender)
    assert as_ranked.removed
    plan = make_plan(graph, (3, 8, 8), sensitivity=make_sensitivity(*curves), **options)
    (spared,) = (cut for cut in plan.groups if cut.root == tender)
    assert not spared.removed
    assert plan.channels_after == plan.channels_before // 2
    assert PruningPlan.from_json(plan.to_json(), source="plan.json") == plan
    with pytest.raises(ValueError, match="scope sensitivity needs"):
        make_plan(graph, (3, 8, 8), **options)
    with pytest.raises(ValueError, match=f"no sensitivity of {graph.groups[0].root}"):
        make_plan(graph, (3, 8, 8), sensitivity=make_sensitivity(*curves[1:]), **options)


def test_it_comes_back_from_json_and_is_a_table_for_people() -> None:
    one = make_sensitivity(make_curve("a", -0.04, 1.0, 2.5))
    assert Sensitivity.from_json(one.to_json(), source="s.json") == one
    with pytest.raises(RunError, match=r"s\.json: Sensitivity\.curves"):
        Sensitivity.from_json(one.to_json().replace('"root"', '"roots"'), source="s.json")
    table = one.to_table(title="t")
    assert table.rows == (("a", "8", "0.0", "0.0", "1.0", "2.5"),)
    assert table.columns == ("Group", "Channels", "% of MACs at 0.75", "0.25", "0.5", "0.75")
    assert "one picture is 1.00 points" in table.notes[1]
