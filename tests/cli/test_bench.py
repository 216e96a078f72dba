"""namprune bench as a user runs it."""

import json

import pytest
from typer.testing import CliRunner

from namprune import cli
from namprune.errors import UserError


@pytest.mark.slow
def test_the_table_and_the_json_say_what_was_measured(run) -> None:
    arguments = ["bench", "r", "--runs", str(run.path.parent), "--batch", "2, 1,2", "--threads", "1"]
    tree = json.loads(CliRunner().invoke(cli.app, [*arguments, "--json"], catch_exceptions=False).stdout)
    assert (tree["runtime"], tree["environment"]["threads"]) == ("torch", 1)
    assert [(one["run"], one["latency"]["batch"]) for one in tree["networks"]] == [("r", 2), ("r", 1)]
    assert tree["networks"][0]["bytes"] == run.weights.stat().st_size
    shown = CliRunner().invoke(cli.app, arguments, catch_exceptions=False).stdout
    title, head, *_ = shown.splitlines()
    assert title.startswith("torch 2")
    assert title.endswith("threads: 1")
    for word in ("MACs x", "Latency x", "IQR %", "Pictures/s", "Memory", "Size"):
        assert word in head
    assert shown.count("model.safetensors") == 2


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--batch", "1,0"], r"--batch 1,0: '0' is no number of pictures"),
        (["--batch", "1,,2"], r"--batch 1,,2: '' is no"),
        (["--batch", "-1"], r"--batch -1: '-1' is no"),
        (["--batch", "²"], r"'²' is no"),
        (["--backend", "onnxruntime", "--device", "cuda"], r"--backend onnxruntime runs on the CPU, not on cuda"),
        (["--device", "gpu"], r"--device \"gpu\""),
        (["--threads", "100000"], r"--threads 100000: this machine has \d+ processors"),
    ],
)
def test_what_cannot_be_measured_is_named(run, arguments, fault) -> None:
    with pytest.raises(UserError, match=fault):
        CliRunner().invoke(cli.app, ["bench", "r", "--runs", str(run.path.parent), *arguments], catch_exceptions=False)
