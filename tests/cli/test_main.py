"""The process: what it loads, its exit codes, and which stream carries what."""

import json
import os
import signal
import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from namprune import cli
from namprune.errors import NampruneError, ProofError, RunError
from namprune.runs import RunStore
from namprune.signals import Interrupted

HEAVY = ("torch", "torchvision", "torch_pruning", "thop", "tensorboard")


def namprune(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "namprune", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["recipes"], ["runs"], ["report"], ["train", "--recipe", "nope.yaml"]]
)
def test_commands_that_compute_nothing_load_nothing_heavy(tmp_path, arguments) -> None:
    script = (
        "import sys\nfrom namprune.cli import main\n"
        f"sys.argv = ['namprune', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], 'pydantic' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    loaded, _, pydantic = done.stderr.splitlines()[-1].rpartition(" ")
    assert loaded == "[]"
    if arguments == ["--help"]:
        assert pydantic == "False"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["report"], "no runs in runs"),
        (["prune", "--ratio", "0.3"], "no finished train run"),
        (["prune", "../x"], "'../x'"),
        (["evaluate", "runs/x"], "'runs/x'"),
        (["runs", "show", "nope"], "no run 'nope'"),
        (["train"], "--recipe"),
        (["train", "--recipe", "nope.yaml"], "nope.yaml"),
        (["train", "--recipe", "quickstart", "--set", "train.epoch=3"], "epochs"),
        (["train", "--recipe", "quickstart", "--device", "gpu"], "--device"),
        (["train", "--recipe", "quickstart", "--name", "../x"], "'../x'"),
        (["prune", "--name", "a/b"], "'a/b'"),
        (["recipes", "show", "nope"], "'nope'"),
        (["report", "--json", "--format", "md"], "exclude"),
        (["report", "--output", "x.txt"], "'txt'"),
        (["trian"], "trian"),
        (["prune", "--criterion", "magic"], "magic"),
        (["prune", "--ratio", "half"], "--ratio"),
        (["runs", "--json", "show", "x"], "after show"),
        (
            [
                "compare",
            ],
            "--recipe is missing",
        ),
        (["compare", "--recipe", "quickstrat"], "quickstart"),
        (["compare", "--recipe", "quickstart", "--attention", "nam,sse"], "'sse' is not one of none, nam, se"),
        (["compare", "--recipe", "quickstart", "--attention", ""], "--attention '' names nothing"),
        (["compare", "--recipe", "quickstart", "--ratio", ","], "--ratio ',' names nothing"),
        (["compare", "--recipe", "quickstart", "--ratio", "0.3,1"], "1 is not above 0 and below 1"),
        (["compare", "--recipe", "quickstart", "--ratio", "0"], "0 is not above 0"),
        (["compare", "--recipe", "quickstart", "--ratio", "nan"], "nan is not above 0"),
        (["compare", "--recipe", "quickstart", "--ratio", "half"], "'half' is not a number"),
        (["compare", "--recipe", "quickstart", "--criterion", "nam,magic"], "'magic' is not one of nam, bn"),
        (["compare", "--recipe", "quickstart", "--seeds", "0"], "--seeds"),
        (["compare", "--recipe", "quickstart", "--set", "seed=2147483647", "--seeds", "2"], "2 seeds from 2147483647"),
    ],
)
def test_a_users_fault_is_exit_2_with_words_on_stderr_only(monkeypatch, capsys, tmp_path, arguments, fault) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["namprune", *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    captured = capsys.readouterr()
    assert caught.value.code == 2
    assert captured.out == ""
    assert fault in captured.err
    assert "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (RunError("asked", hint="remedy"), 2, "error: asked\nhint: remedy\n"),
        (ProofError("differs"), 1, "error: differs\n"),
        (NampruneError("ours"), 1, "error: ours\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_exit_codes(monkeypatch, capsys, raised, code, said) -> None:
    def fail(**_: object) -> None:
        raise raised

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("raised", "code"),
    [(KeyboardInterrupt(), 130), (Interrupted(signal.SIGTERM), 143), (Interrupted(signal.SIGUSR1), 0)],
)
def test_an_interrupted_command_ends_with_the_code_of_its_signal(monkeypatch, raised, code) -> None:
    def interrupt(store: RunStore) -> None:
        raise raised

    monkeypatch.setattr(RunStore, "folders", interrupt)
    assert CliRunner().invoke(cli.app, ["runs"]).exit_code == code


def test_ctrl_c_while_the_command_line_is_loaded_is_no_traceback(tmp_path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "namprune", "runs"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr or ():
            if line.endswith(" namprune.errors\n"):  # the first of hundreds of modules
                process.send_signal(signal.SIGINT)
                break
        _, said = process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGINT, 130)
    assert "Traceback" not in said


def test_the_version_is_the_packages(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["namprune", "--version"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"namprune {version('namprune')}\n"


def test_a_reader_that_leaves_is_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "namprune", "recipes", "schema"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.stderr == ""


def test_a_terminal_without_the_characters_gets_them_spelled_out(store, save, make_result) -> None:
    save(make_result("a"))
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = namprune("report", "--format", "md", "--runs", str(store.root), env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\xb1" in done.stdout


def test_json_leaves_one_object_on_stdout(store, save, make_result) -> None:
    save(make_result("a"))
    done = namprune("report", "--json", "--output", str(store.root / "r.md"), "--runs", str(store.root))
    assert [row["runs"] for row in json.loads(done.stdout)["rows"]] == [["a"]]
    assert "written to" in done.stderr
    assert (store.root / "r.md").read_text().startswith("| Data |")


@pytest.mark.parametrize(
    ("redirection", "arguments", "code"),
    [
        (">&-", "runs", 0),
        (">&-", "--help", 0),
        ("2>&-", "evaluate no-such-run", 2),
        (">/dev/full", "runs --json", 1),
    ],
)
def test_a_stream_that_takes_nothing_is_no_traceback(tmp_path, redirection, arguments, code) -> None:
    command = f"{sys.executable} -m namprune {arguments} {redirection}"
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
