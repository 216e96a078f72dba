import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from namprune.errors import RunError
from namprune.result import EpochRecord, GammaSpread, RunResult, from_json, record_from_json, to_json

ResultFactory = Callable[..., RunResult]


def _changed(result: RunResult, path: str, value: Any) -> str:
    """The result's JSON with one value, given by its dotted path, replaced; `...` removes the key."""
    tree = json.loads(to_json(result))
    *parents, key = (int(part) if part.isdigit() else part for part in path.split("."))
    node = tree
    for parent in parents:
        node = node[parent]
    if value is ...:
        del node[key]
    else:
        node[key] = value
    return json.dumps(tree)


@pytest.fixture
def result(make_result: ResultFactory, make_pruned: ResultFactory) -> RunResult:
    """A pruned run: every kind of field is filled."""
    return make_pruned("über", parent=make_result("dense"), files={"plan.json": "0f"})


def test_a_result_comes_back_equal(result: RunResult, make_result: ResultFactory) -> None:
    assert from_json(to_json(result), source="result.json") == result
    trained = make_result("a")
    assert trained.cut is None
    assert from_json(to_json(trained), source="result.json") == trained
    assert "über" in to_json(result)
    assert to_json(result).endswith("}\n")


def test_a_loss_that_is_no_number_makes_no_broken_json(result: RunResult) -> None:
    wrecked = dataclasses.replace(result.final, val=dataclasses.replace(result.final.val, loss=math.inf))
    text = to_json(dataclasses.replace(result, stages=(*result.stages, wrecked)))
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in result.json"))
    assert math.isnan(from_json(text, source="result.json").final.val.loss)


def test_the_final_stage_is_the_last(result: RunResult) -> None:
    last = dataclasses.replace(result.stages[0], stage="finetuned")
    assert dataclasses.replace(result, stages=(*result.stages, last)).final is last


def test_any_record_comes_back(make_result: ResultFactory) -> None:
    record = EpochRecord(
        phase="train",
        epoch=1,
        epochs=2,
        loss=0.5,
        accuracy=0.9,
        val=make_result("a").final.val,
        lr=0.1,
        seconds=2.0,
        images_per_second=50.0,
        gamma=GammaSpread(mean=1.0, top_decile=1.5, bottom_decile=0.5, near_zero=0.0),
    )
    assert record_from_json(EpochRecord, to_json(record), source="metrics.jsonl") == record


def test_a_whole_number_is_a_float_too(result: RunResult) -> None:
    seconds = from_json(_changed(result, "seconds", 7), source="result.json").seconds
    assert (seconds, type(seconds)) == (7.0, float)


@pytest.mark.parametrize("version", [0, 2, "1", None, ...])
def test_another_version_is_refused(result: RunResult, version: object) -> None:
    with pytest.raises(RunError, match=r"runs/x/result\.json: format .*this version reads format 1"):
        from_json(_changed(result, "format", version), source="runs/x/result.json")


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("name", ..., "RunResult.name: missing"),
        ("cut.proof", ..., "RunResult.cut.proof: missing"),
        ("stages.0.val.loss", ..., "RunResult.stages[0].val.loss: missing"),
        ("colour", "red", "RunResult.colour: unknown key"),
        ("environment.colour", "red", "RunResult.environment.colour: unknown key"),
        ("seed", "0", "RunResult.seed: expected int"),
        ("seed", 0.5, "RunResult.seed: expected int"),
        ("seed", True, "RunResult.seed: expected int"),
        ("seconds", "long", "RunResult.seconds: expected float"),
        ("seconds", False, "RunResult.seconds: expected float"),
        pytest.param("seconds", 10**400, "too large", id="seconds-huge"),
        ("parent", 3, "RunResult.parent: expected str"),
        ("kind", "bake", "RunResult.kind: 'bake' is not one of 'train', 'prune'"),
        ("kind", [], "RunResult.kind: [] is not one of"),
        ("classes", "cat", "RunResult.classes: expected a list"),
        ("classes.1", 4, "RunResult.classes[1]: expected str"),
        ("input_shape", [3, 32], "RunResult.input_shape: expected 3 values"),
        ("files", [], "RunResult.files: expected an object"),
        ("environment.versions.torch", 2, "RunResult.environment.versions.torch: expected str"),
        ("cut", [], "RunResult.cut: expected an object"),
        ("latency.0.dense.blocks", None, "RunResult.latency[0].dense.blocks: expected int"),
    ],
)
def test_a_fault_is_named_with_its_path(result: RunResult, path: str, value: object, fault: str) -> None:
    with pytest.raises(RunError) as caught:
        from_json(_changed(result, path, value), source="runs/x/result.json")
    assert caught.value.message.startswith("runs/x/result.json: ")
    assert fault in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "{", "\x00", "[" * 100_000, "nothing"])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(RunError, match="not JSON"):
        from_json(text, source="result.json")


@pytest.mark.parametrize("text", ["[]", "null", "3", '"format"'])
def test_what_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(RunError, match="format None"):
        from_json(text, source="result.json")
