"""--devices: several processes that look like one from outside."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from namprune import distributed
from namprune.cli import launch
from namprune.errors import NampruneError, RunError, UserError

SMALL = ("data.limit=200", "model.width=0.25", "train.batch_size=32", "train.epochs=4", "finetune.epochs=1")
OVERRIDES = [word for override in SMALL for word in ("--set", override)]
QUIET = os.environ | {"OMP_NUM_THREADS": "1"}


def namprune(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "namprune", *arguments]
    return subprocess.run(
        command, cwd=cwd, env=QUIET | environment, capture_output=True, text=True, timeout=200, check=False
    )


def processes(word: str) -> list[str]:
    """Command lines of all processes that have it."""
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return [line.replace(b"\0", b" ").decode() for line in lines if word.encode() in line]


@pytest.mark.slow
def test_an_interrupted_training_of_two_goes_on_to_the_bits_of_one_that_was_not(tmp_path: Path) -> None:
    options = ["--recipe", "quickstart", "--device", "cpu", "--devices", "2", *OVERRIDES]
    command = [sys.executable, "-m", "namprune", "train", *options, "--name", tmp_path.name]
    with subprocess.Popen(command, cwd=tmp_path, env=QUIET, stderr=subprocess.PIPE, text=True) as training:
        assert training.stderr is not None
        said = ""
        for line in training.stderr:
            said += line
            if line.startswith("train 1/4"):
                training.send_signal(signal.SIGTERM)
                break
        said += training.stderr.read()
    assert training.returncode == 143, said
    assert said.count("train 1/4") == said.count("SIGTERM: finishing") == said.count("warning: interrupted") == 1
    assert f"namprune train --resume {tmp_path.name} --devices 2" in said
    assert "Traceback" not in said
    assert processes(tmp_path.name) == []
    resumed = namprune("train", "--resume", tmp_path.name, "--devices", "2", "--json", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    whole = namprune("train", *options, "--name", "whole", "--json", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    runs = [tmp_path / "runs" / name for name in (tmp_path.name, "whole")]
    assert runs[0].joinpath("model.safetensors").read_bytes() == runs[1].joinpath("model.safetensors").read_bytes()
    assert [len((run / "metrics.jsonl").read_text().splitlines()) for run in runs] == [4, 4]
    assert json.loads(resumed.stdout)["environment"]["devices"] == 2
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == sorted(run.name for run in runs)


@pytest.mark.slow
def test_a_fault_of_the_processes_is_said_once(tmp_path: Path) -> None:
    overrides = [*OVERRIDES, "--set", "train.batch_size=33"]
    done = namprune("train", "--recipe", "quickstart", "--device", "cpu", "--devices", "2", *overrides, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("error: train.batch_size: 33 pictures are not the same number for 2 devices") == 1
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "runs").iterdir()) == []


def test_only_training_is_spread(tmp_path: Path) -> None:
    done = namprune("prune", cwd=tmp_path, WORLD_SIZE="2", RANK="0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: prune: torchrun has started 2 processes, and this takes one")


def test_torchrun_and_devices_must_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(UserError, match="--devices 4: torchrun has started 2"), launch.spread(4):
        pass


def test_one_device_is_no_group() -> None:
    for devices in (None, 1):
        with launch.spread(devices):
            assert distributed.size() == 1


def test_the_fault_that_is_known_is_the_one_that_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(launch, "FIRST", 0.0)
    # what a process says whose neighbour is gone, and what the neighbour said
    for rank, fault in enumerate([RuntimeError("connection closed by peer"), RunError("no such run", hint="look")]):
        place = tmp_path / str(rank)
        place.mkdir()
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(place / "error.json"))
        assert launch.left_to_launcher(fault)
    with pytest.raises(UserError, match="no such run") as caught:
        launch.raise_first_fault(tmp_path)
    assert caught.value.hint == "look"
    with pytest.raises(UserError, match="no such run"):
        launch.raise_known_fault(tmp_path)
    (tmp_path / "1" / "error.json").unlink()
    launch.raise_known_fault(tmp_path)  # nothing: after a signal a lost connection is no fault
    with pytest.raises(NampruneError, match="ended by SIGKILL"):
        launch.raise_first_fault(tmp_path, killed="SIGKILL")
    with pytest.raises(NampruneError, match="one of the processes failed"):
        launch.raise_first_fault(tmp_path)


def test_alone_a_fault_is_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_ERROR_FILE", raising=False)
    assert not launch.left_to_launcher(RunError("no such run"))
