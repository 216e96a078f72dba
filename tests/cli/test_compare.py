"""namprune compare as a user runs it: faults before any work, and the report of its own runs at the end."""

import json
import shlex
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from namprune import cli
from namprune.errors import RunError, UserError
from namprune.recipe import load_recipe
from namprune.runs import RunStore
from namprune.stages.comparison import Comparison, begin
from namprune.stages.grid import cuts

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
    again = CliRunner().invoke(cli.app, ["compare", "--resume", *where], catch_exceptions=False)
    assert "4 of them finished already" in again.stderr
    assert all(line in again.stdout for line in report["sentences"])


@pytest.mark.slow
def test_the_command_that_an_interruption_prints_goes_on(tmp_path) -> None:
    arguments = ["compare", "--recipe", "quickstart", "--attention", "none", "--ratio", "0.5", *TINY]
    command = [sys.executable, "-m", "namprune", *arguments, "--set", "train.epochs=100", "--runs", "my runs"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while process.poll() is None and not [*tmp_path.glob("my runs/*/metrics.jsonl")]:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "2 of 2 runs are missing: none seed 0 trained, none seed 0 pruned p50 nam global" in said
    (line,) = [line for line in said.splitlines() if "interrupted" in line]
    program, *rest = shlex.split(line.partition("to go on: ")[2])
    assert (program, rest) == ("namprune", ["compare", "--resume", "--runs", "my runs"])
    done = subprocess.run(
        [sys.executable, "-m", "namprune", *rest, "--json"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert [row["kind"] for row in json.loads(done.stdout)["rows"]] == ["dense", "pruned"]
    assert [folder.state() for folder in RunStore(tmp_path / "my runs").folders()] == ["finished"] * 2


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (["--seeds", "3"], "seeds is 2 in the comparison of .*, not 3"),
        (["--attention", "nam,none"], "attentions is .*, not"),
        (["--ratio", "0.3"], r"cuts\.0\.ratio is 0\.5 in the comparison of .*, not 0\.3"),
        (["--controls"], "controls is False"),
        (["--recipe", "quickstart", "--seeds", "2"], r"recipe\.data\.limit is 80 .*, not None"),
        (["--set", "train.epochs=1"], "--set is said beside --resume"),
        (["--device", "cpu"], "--device is said beside --resume"),
    ],
)
def test_what_goes_on_cannot_be_something_else(store, said, fault) -> None:
    recipe = load_recipe("quickstart", overrides=["data.limit=80"])
    begin(Comparison(recipe=recipe, attentions=("nam",), cuts=cuts(recipe.prune, ratios=(0.5,)), seeds=2), store)
    with pytest.raises(UserError, match=fault):
        CliRunner().invoke(cli.app, ["compare", "--resume", *said, "--runs", str(store.root)], catch_exceptions=False)


def test_nothing_to_go_on_with_is_said(store) -> None:
    with pytest.raises(RunError, match="no comparison was begun"):
        CliRunner().invoke(cli.app, ["compare", "--resume", "--runs", str(store.root)], catch_exceptions=False)


@pytest.mark.slow
def test_train_takes_another_attention(store) -> None:
    arguments = ["train", "--recipe", "quickstart", "--attention", "se", "--set", "sparsity.on=nam", *TINY]
    done = CliRunner().invoke(cli.app, [*arguments, "--runs", str(store.root), "--json"], catch_exceptions=False)
    result = json.loads(done.stdout)
    assert (result["name"], result["attention"]) == ("resnet20-se-s0", "se (block)")
    assert load_recipe(str(store.open(result["name"]).recipe)).sparsity.on == "all"
