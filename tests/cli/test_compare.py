"""namprune compare as a user runs it: faults before any work, and the report of its own runs at the end."""

import json
import sys

import pytest
from typer.testing import CliRunner

from namprune import cli
from namprune.recipe import load_recipe

TINY = [
    *("--set", "data.limit=80", "--set", "model.width=0.25", "--set", "train.epochs=1", "--set", "finetune.epochs=0"),
    *("--set", "train.batch_size=32", "--set", "finetune.batch_size=32", "--set", "sparsity.warmup=0"),
    *("--device", "cpu"),
]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "--recipe is missing"),
        (["--recipe", "quickstrat"], "quickstart"),
        (["--recipe", "quickstart", "--attention", "nam,sse"], "'sse' is not one of none, nam, se"),
        (["--recipe", "quickstart", "--attention", ""], "--attention '' names nothing"),
        (["--recipe", "quickstart", "--ratio", ","], "--ratio ',' names nothing"),
        (["--recipe", "quickstart", "--ratio", "0.3,1"], "1 is not above 0 and below 1"),
        (["--recipe", "quickstart", "--ratio", "0"], "0 is not above 0"),
        (["--recipe", "quickstart", "--ratio", "nan"], "nan is not above 0"),
        (["--recipe", "quickstart", "--ratio", "half"], "'half' is not a number"),
        (["--recipe", "quickstart", "--criterion", "nam,magic"], "'magic' is not one of nam, bn"),
        (["--recipe", "quickstart", "--seeds", "0"], "--seeds"),
        (["--recipe", "quickstart", "--set", "seed=2147483647", "--seeds", "2"], "2 seeds from 2147483647"),
    ],
)
def test_a_fault_is_exit_2_before_any_work(monkeypatch, capsys, tmp_path, arguments, fault) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["namprune", "compare", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    captured = capsys.readouterr()
    assert caught.value.code == 2
    assert captured.out == ""
    assert fault in captured.err
    assert "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []


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
    assert "[4/4] none seed 0 pruned 0.5 nam: val " in first.stderr
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
