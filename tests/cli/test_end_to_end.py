"""The three commands of the tool, as a user runs them: processes, their streams and their exit codes."""

import json
import os
import subprocess
import sys
import time

import pytest

SMALL = [
    *("--set", "data.limit=300", "--set", "model.width=0.5", "--set", "train.epochs=2", "--set", "finetune.epochs=1"),
    *("--set", "train.batch_size=32", "--set", "finetune.batch_size=32"),
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("place")


def namprune(place, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "namprune", *arguments],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_train_prune_report(place) -> None:
    trained = namprune(place, "train", "--recipe", "quickstart", *SMALL, "--json")
    assert trained.returncode == 0, trained.stderr
    dense = json.loads(trained.stdout)
    assert dense["kind"] == "train"
    assert "penalty" in trained.stderr

    pruned = namprune(place, "prune", "--ratio", "0.5", "--json")
    assert pruned.returncode == 0, pruned.stderr
    small = json.loads(pruned.stdout)
    assert small["parent"] == dense["name"]
    assert dense["name"] in pruned.stderr  # which run was taken is said
    assert small["stages"][-1]["complexity"]["macs"] < 0.55 * dense["stages"][-1]["complexity"]["macs"]

    report = namprune(place, "report", "--format", "json")
    assert report.returncode == 0, report.stderr
    rows = json.loads(report.stdout)["rows"]
    assert [row["kind"] for row in rows] == ["dense", "pruned"]
    assert rows[1]["delta"] == pytest.approx(100 * (rows[1]["top1"] - rows[0]["top1"]))

    again = namprune(place, "evaluate", small["name"], "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["top1"] == small["stages"][-1]["test"]["top1"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--recipe", "quickstrat"], ["quickstrat", "quickstart"]),
        (["train", "--recipe", "quickstart", "--set", "train.epoch=3"], ["train.epoch", "epochs"]),
        (["train", "--recipe", "resnet20", "--data", "nowhere", "--set", "data.download=false"], ["nowhere", "--data"]),
        (["train", "--recipe", "quickstart", "--name", "../evil"], ["../evil"]),
        (["prune", "--ratio", "1.5"], ["--ratio", "1.5"]),
        (["prune", "no-such-run"], ["no-such-run"]),
        (["evaluate", "../../etc"], ["../../etc"]),
        (["report", "--format", "word"], ["word"]),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, place, arguments, words) -> None:
    # a ratio can only be wrong where there is a run to prune
    where = place if "--ratio" in arguments else tmp_path
    before = sorted(where.rglob("*"))
    started = time.monotonic()
    done = namprune(where, *arguments)
    seconds = time.monotonic() - started
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert sorted(where.rglob("*")) == before
    assert seconds < 10  # 0.6 s where no torch is needed and 2 s where it is, on an idle machine
