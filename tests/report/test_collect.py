"""No run is dropped in silence."""

import dataclasses

import pytest

from namprune.errors import RunError
from namprune.report import collect


def test_broken_and_unfinished_runs_are_listed_with_the_reason(store, save, make_result) -> None:
    save(make_result("good"))
    store.create("cut-short", recipe="")
    save(make_result("broken")).result_file.write_text('{"format": 99}')
    untested = make_result("untested")
    save(dataclasses.replace(untested, stages=(dataclasses.replace(untested.final, test=None),)))
    collection = collect(store)
    assert [result.name for result in collection.results] == ["good"]
    assert [(run.name, run.state) for run in collection.flawed] == [
        ("broken", "broken"),
        ("cut-short", "unfinished"),
        ("untested", "broken"),
    ]
    for run, reason in zip(collection.flawed, ("format 99", "interrupted", "no test accuracy"), strict=True):
        assert reason in run.reason
        assert run.name in run.reason
    assert "; if nothing is at work on it, delete" in collection.flawed[1].reason


def test_named_runs_only_and_a_wrong_name_is_refused(store, save, make_result) -> None:
    save(make_result("resnet20"))
    store.create("cut-short", recipe="")
    assert collect(store, names=["resnet20"]).flawed == ()
    assert [run.name for run in collect(store, names=["cut-short"]).flawed] == ["cut-short"]
    with pytest.raises(RunError, match="no run 'resnet2'"):
        collect(store, names=["resnet2"])


def test_nothing_to_report_is_said(store) -> None:
    with pytest.raises(RunError, match="no runs"):
        collect(store)
