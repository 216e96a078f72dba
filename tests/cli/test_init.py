"""namprune init: what it refuses, and that it never touches a file that is there. What it writes: test_starter."""

import json

import pytest
from typer.testing import CliRunner

from namprune.cli import app
from namprune.errors import UserError

MODEL = ["--model", "torchvision:squeezenet1_1"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "neither --data nor --model"),
        (["--data", "nowhere"], "no such folder"),
        ([*MODEL, "--weights", "none.pt"], "--weights none.pt: no such file"),
        (["--weights", "DEFAULT"], "without --model"),
        ([*MODEL, "--output", "nowhere/recipe.yaml"], "cannot write nowhere/recipe.yaml: No such file"),
    ],
)
def test_nothing_is_written_for_what_does_not_hold(tmp_path, arguments, fault) -> None:
    with pytest.raises(UserError, match=fault) as caught:
        CliRunner().invoke(app, ["init", *arguments], catch_exceptions=False)
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_stays(tmp_path) -> None:
    (tmp_path / "recipe.yaml").write_text("mine")
    with pytest.raises(UserError, match=r"recipe\.yaml is there already") as caught:
        CliRunner().invoke(app, ["init", *MODEL], catch_exceptions=False)
    assert "--output" in caught.value.hint
    assert (tmp_path / "recipe.yaml").read_text() == "mine"


def test_for_a_network_without_pictures_it_says_what_is_still_to_be_set(tmp_path) -> None:
    done = CliRunner().invoke(app, ["init", *MODEL, "--output", "own.yaml"])
    assert (done.exit_code, done.stdout) == (
        0,
        f"own.yaml: {len((tmp_path / 'own.yaml').read_text().splitlines())} lines, each with a comment\n",
    )
    assert "data.root" in done.stderr
    assert CliRunner().invoke(app, ["recipes", "validate", "own.yaml"]).exit_code == 0
    told = json.loads(CliRunner().invoke(app, ["init", *MODEL, "--output", "two.yaml", "--json"]).stdout)
    assert told == {"path": "two.yaml", "text": (tmp_path / "two.yaml").read_text()}
