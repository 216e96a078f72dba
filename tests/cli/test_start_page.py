"""`namprune` alone: what it is for, and where one is."""

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from namprune import cli
from namprune.recipe import shipped_recipes


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Its stdout and stderr in a folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[str, str]:
        done = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout, done.stderr

    return run


def test_it_is_short_and_names_the_usual_commands(start) -> None:
    page, rest = start()
    assert len(page.splitlines()) <= 16
    assert max(map(len, page.splitlines())) <= 90
    for words in ("namprune train --recipe quickstart", "prune --ratio", "report", "export", "--help"):
        assert words in page
    assert "quickstart" in {recipe.name for recipe in shipped_recipes()}
    assert rest == ""


def test_of_runs_it_names_the_newest_and_what_is_next(start, save, make_result) -> None:
    for second, name in enumerate(("old", "new")):
        folder = save(make_result(name))
        for file in folder.path.iterdir():
            os.utime(file, (second, second))
    _, rest = start()
    assert rest.splitlines() == ["newest run: new, finished", "next: namprune prune new"]


def test_an_unfinished_run_is_to_be_gone_on_with(start, store, make_start) -> None:
    store.create("half", recipe="seed: 0\n", start=make_start("train"))
    assert start()[1].splitlines() == ["newest run: half, unfinished", "next: namprune train --resume half"]


def test_what_cannot_be_read_is_no_fault_here(start, tmp_path) -> None:
    broken = tmp_path / "runs" / "broken"
    broken.mkdir(parents=True)
    (broken / "result.json").write_text("{")
    assert start()[1] == "newest run: broken, broken\n"


def test_quiet_leaves_the_page(start, save, make_result) -> None:
    save(make_result("a"))
    page, rest = start("-q")
    assert page.startswith("namprune ")
    assert rest == ""


def test_it_loads_no_torch(tmp_path) -> None:
    script = (
        "import sys\nfrom namprune.cli import main\nsys.argv = ['namprune']\n"
        "try:\n    main()\nexcept SystemExit:\n    print('torch' in sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == "False\n"
