"""Options that train, prune and compare share: each reaches the recipe of the run."""

import json

import pytest
from typer.testing import CliRunner

from namprune import cli
from namprune.recipe import load_recipe

TINY = [
    *("--set", "data.limit=80", "--set", "model.width=0.25", "--set", "train.epochs=1", "--set", "finetune.epochs=0"),
    *("--set", "train.batch_size=32", "--set", "finetune.batch_size=32", "--set", "sparsity.warmup=0"),
    *("--device", "cpu"),
]


def _results(store, *arguments: str) -> list[dict]:
    done = CliRunner().invoke(cli.app, [*arguments, "--runs", str(store.root)], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return [json.loads(path.read_text()) for path in sorted(store.root.glob("*/result.json"))]


def _runtime(store, name: str) -> tuple[str, bool]:
    section = load_recipe(str(store.open(name).recipe)).runtime
    return section.precision, section.deterministic


@pytest.mark.slow
def test_precision_and_determinism_reach_the_runs(store) -> None:
    exact = ["train", "--recipe", "quickstart", *TINY, "--precision", "bf16", "--deterministic"]
    _results(store, *exact, "--name", "first")
    first, second = _results(store, *exact, "--name", "second")
    assert _runtime(store, "first") == ("bf16", True)
    assert first["files"]["model.safetensors"] == second["files"]["model.safetensors"]
    _results(store, "prune", "first", "--ratio", "0.5", "--no-deterministic", "--precision", "fp32", "--name", "third")
    assert _runtime(store, "third") == ("fp32", False)
    compared = ["compare", "--recipe", "quickstart", "--attention", "none", "--ratio", "0.5", *TINY]
    results = _results(store, *compared, "--deterministic", "--precision", "fp32")
    assert len(results) == 5
    new = [result["name"] for result in results if result["name"] not in {"first", "second", "third"}]
    assert {_runtime(store, name) for name in new} == {("fp32", True)}
