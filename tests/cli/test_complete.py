"""Completion, through what the shell's own script asks."""

import os
import subprocess
import sys

import pytest

from namprune import cli


@pytest.fixture
def complete(monkeypatch, capsys, tmp_path):
    """What bash is offered for the last word of a line."""
    monkeypatch.chdir(tmp_path)

    def offered(line: str) -> list[str]:
        monkeypatch.setenv("_NAMPRUNE_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
        with pytest.raises(SystemExit) as caught:
            cli.app(prog_name="namprune")
        assert caught.value.code == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out.split()

    return offered


def run(folder, name: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "recipe.yaml").touch()


def test_runs_are_those_of_the_folder_that_is_named(complete, tmp_path) -> None:
    run(tmp_path / "runs", "here")
    run(tmp_path / "else", "there")
    assert complete("namprune prune ") == ["here"]
    assert complete("namprune runs show he") == ["here"]
    assert complete("namprune prune --runs else ") == ["there"]
    assert complete("namprune train --runs else --like ") == ["there"]
    assert complete("namprune prune --runs nowhere ") == []


def test_names_that_a_shell_could_run_are_not_offered(complete, tmp_path) -> None:
    for name in ("$(id)", "a b", "`x`", "[red]x", "a\x1b[2J", "\\$(id)", "x;y"):
        run(tmp_path / "runs", name)
        (tmp_path / f"{name}.yaml").touch()
    (tmp_path / "mine.yaml").touch()
    assert complete("namprune prune ") == []
    assert complete("namprune train --recipe m") == ["mobilenetv2", "mine.yaml"]


def test_recipes_are_shipped_ones_and_files(complete, tmp_path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "q.yaml").touch()
    (tmp_path / "sub" / "q.txt").touch()
    assert complete("namprune train --recipe q") == ["quickstart"]
    assert complete("namprune recipes validate sub") == ["sub/"]
    assert complete("namprune train --recipe sub/") == ["sub/q.yaml"]
    assert complete("namprune recipes show sub") == []


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("namprune pr", ["prune", "predict"]),
        ("namprune --verb", ["--verbose"]),
        ("namprune prune --crit", ["--criterion"]),
        ("namprune prune --criterion l", ["l1", "l2", "lamp"]),
        ("namprune prune --allocation s", ["sensitivity"]),
        ("namprune train --attention ca", []),
        ("namprune train --attention cb", ["cbam"]),
        ("namprune compare --attention nam,s", ["nam,se", "nam,sa"]),
        ("namprune compare --criterion bn,l1,l", ["bn,l1,l2", "bn,l1,lamp"]),
        ("namprune export r --format o", ["onnx", "openvino"]),
        ("namprune prune --set prune.c", ["prune.criterion=", "prune.compensate="]),
        ("namprune train --set attention.sc", ["attention.scale="]),
        ("namprune prune --model torchvision:resnet18", ["torchvision:resnet18"]),
        ("namprune prune --model ti", ["timm:"]),
        ("namprune train --device c", ["cpu", "cuda"]),
    ],
)
def test_names_that_a_recipe_may_use(complete, line, offered) -> None:
    assert complete(line) == offered


def test_data_sets_are_offered_behind_their_key(complete, monkeypatch, capsys) -> None:
    monkeypatch.setenv("_NAMPRUNE_COMPLETE", "complete_fish")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "namprune train --set data.name=c")
    with pytest.raises(SystemExit):
        cli.app(prog_name="namprune")
    assert capsys.readouterr().out.split() == ["data.name=cifar10", "data.name=cifar100"]


def test_a_log_file_is_not_begun_by_the_tab_key(complete, tmp_path) -> None:
    complete("namprune runs --log-file log.txt ")
    assert list(tmp_path.iterdir()) == []


def test_the_tab_key_loads_no_torch(tmp_path) -> None:
    script = (
        "import sys\nfrom namprune import cli\n"
        "try:\n    cli.app(prog_name='namprune')\n"
        "except SystemExit:\n    print('torch' in sys.modules, file=sys.stderr)\n"
    )
    asked = {"_NAMPRUNE_COMPLETE": "complete_bash", "COMP_WORDS": "namprune prune --model torchvision:resnet1"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, **asked, "COMP_CWORD": "3"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == "False\n"
    assert "torchvision:resnet18" in done.stdout.split()
