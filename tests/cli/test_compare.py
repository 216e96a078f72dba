"""namprune compare as a user runs it: faults before any work, and the report of its own runs at the end."""

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


@pytest.mark.slow
def test_the_report_is_of_exactly_these_runs(store, save, make_result) -> None:
    save(make_result("another"))
    arguments = ["compare", "--recipe", "quickstart", "--attention", "nam, none,nam", "--ratio", "0.5", *TINY]
    where = ["--runs", str(store.root)]
    first = CliRunner().invoke(cli.app, [*arguments, *where, "--json"], catch_exceptions=False)
    report = json.loads(first.stdout)
    assert [(row["attention"].split()[0], row["kind"]) for row in report["rows"]] == [
        ("nam", "dense"),
        ("nam", "pruned"),
        ("none", "dense"),
        ("none", "pruned"),
    ]
    assert sum("one seed cannot tell" in line for line in report["sentences"]) == 2
    assert "[4/4] none seed 0 pruned p50 nam global: val " in first.stderr
    again = CliRunner().invoke(cli.app, [*arguments, *where], catch_exceptions=False)
    assert "4 of them finished already" in again.stderr
    assert all(line in again.stdout for line in report["sentences"])


@pytest.mark.slow
def test_train_takes_another_attention(store) -> None:
    arguments = ["train", "--recipe", "quickstart", "--attention", "se", "--set", "sparsity.on=nam", *TINY]
    done = CliRunner().invoke(cli.app, [*arguments, "--runs", str(store.root), "--json"], catch_exceptions=False)
    result = json.loads(done.stdout)
    assert (result["name"], result["attention"]) == ("resnet20-se-s0", "se (block)")
    assert load_recipe(str(store.open(result["name"]).recipe)).sparsity.on == "all"
