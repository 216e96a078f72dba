"""--quiet, --verbose and --log-file: before or after the command's name, and what goes where."""

import logging
import re
import subprocess
import sys

import pytest

from namprune import cli, console
from namprune.runs import RunStore

TIMED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) [\w.]+: .+")


@pytest.fixture
def namprune(monkeypatch, capsys, tmp_path):
    """Runs a command line in an empty folder; gives exit code and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["namprune", *line.split()])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return int(caught.value.code or 0), capsys.readouterr().err

    yield run
    console.reset()


def fail(fault: Exception):
    def folders(_: RunStore) -> None:
        raise fault

    return folders


@pytest.mark.parametrize("line", ["runs --quiet", "--quiet runs", "-q runs", "runs -q"])
def test_quiet_is_heard_anywhere_and_ends_with_the_command(namprune, line) -> None:
    assert namprune(line) == (0, "")
    assert "no runs in runs" in namprune("runs")[1]


@pytest.mark.parametrize("line", ["recipes -q show nope", "-q recipes show nope", "recipes show nope -q"])
def test_a_quiet_command_still_complains(namprune, line) -> None:
    code, err = namprune(line)
    assert code == 2
    assert err.startswith("error: ")


@pytest.mark.parametrize("line", ["-q -v runs", "--quiet runs --verbose", "runs -vq"])
def test_less_and_more_exclude_each_other(namprune, line) -> None:
    code, err = namprune(line)
    assert code == 2
    assert err.startswith("error: --quiet and --verbose exclude each other\nhint: ")


def test_a_fault_of_ours_is_a_line_and_with_verbose_where_it_came_from(namprune, monkeypatch) -> None:
    monkeypatch.setattr(RunStore, "folders", fail(ValueError("odd")))
    line = "error: a fault of namprune itself: ValueError: odd\n"
    code, err = namprune("runs")
    assert code == 1
    assert err.startswith(line + "hint: ")
    code, err = namprune("runs -v")
    assert code == 1
    assert err.startswith("Traceback")
    assert line in err


def test_the_log_file_keeps_all_that_is_said_with_times(namprune, tmp_path, monkeypatch) -> None:
    log = tmp_path / "log.txt"
    assert namprune("runs --log-file log.txt -q") == (0, "")
    namprune("--log-file log.txt recipes show nope")
    monkeypatch.setattr(RunStore, "folders", fail(ValueError("odd")))
    namprune("runs --log-file log.txt")
    lines = log.read_text(encoding="utf-8").splitlines()
    assert all(TIMED.fullmatch(line) or line.startswith("    ") for line in lines)
    texts = [line.partition("Z ")[2] for line in lines]
    for text in ("no runs in runs", "no shipped recipe 'nope'", "a fault of namprune itself", "Traceback"):
        assert [line for line in texts if text in line]
    assert "runs --log-file log.txt -q" in texts[0]


def test_one_message_is_one_record_without_control_characters(tmp_path) -> None:
    file = tmp_path / "log.txt"
    console.speak(quiet=True, log_file=file)
    console.message("a\n2026-01-01T00:00:00.000Z ERROR namprune: forged\x1b[2J")
    logging.getLogger("a.library").warning("odd\x07")
    console.reset()
    logging.getLogger("a.library").error("when nobody listens any more")
    first, second, third = file.read_text(encoding="utf-8").splitlines()
    assert (first[-2:], second[:6], second[-6:]) == (" a", "    20", "x1b[2J")
    assert third.endswith("Z WARNING a.library: odd\\x07")


def test_warnings_of_libraries_go_to_the_log_file(tmp_path) -> None:
    script = (
        "import warnings\nfrom pathlib import Path\nfrom namprune import console\n"
        "console.speak(log_file=Path('log.txt'))\nwarnings.warn('old ways')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    assert "old ways" in (tmp_path / "log.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", ["no/such/folder/log.txt", "."])
def test_a_log_file_that_cannot_be_written_is_said_before_the_work(namprune, monkeypatch, file) -> None:
    monkeypatch.setattr(RunStore, "folders", fail(AssertionError("the work began")))
    code, err = namprune(f"runs --log-file {file}")
    assert code == 2
    assert err.startswith(f"error: --log-file {file}: ")


def test_a_full_disk_ends_the_log_and_not_the_work(namprune) -> None:
    code, err = namprune("runs --log-file /dev/full")
    assert code == 0
    assert err.splitlines()[0].startswith("no runs in runs")
    assert "Traceback" not in err


@pytest.mark.parametrize(("rank", "writes"), [("0", True), ("1", False)])
def test_of_several_processes_the_first_one_writes(namprune, monkeypatch, tmp_path, rank, writes) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", rank)
    monkeypatch.delenv("TORCHELASTIC_ERROR_FILE", raising=False)
    assert namprune("train --recipe nope --log-file log.txt")[0] == 2
    assert (tmp_path / "log.txt").exists() is writes
