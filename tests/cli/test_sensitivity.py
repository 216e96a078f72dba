"""namprune sensitivity as a user runs it."""

import sys

import pytest
import torch
from typer.testing import CliRunner

from namprune import cli
from namprune.checkpoint import to_bytes
from namprune.data import build_data
from namprune.errors import UserError
from namprune.models import build_model
from namprune.pruning import PruningPlan, Sensitivity
from namprune.recipe import dump_recipe, load_recipe


@pytest.fixture
def run(store, make_result):
    """A finished run of an untrained network."""
    overrides = ["model.width=0.25", "runtime.device=cpu", "data.limit=100", "prune.recalibrate=0"]
    recipe = load_recipe("quickstart", overrides=overrides)
    data = build_data(recipe.data, device=torch.device("cpu"))
    folder = store.create("r", recipe=dump_recipe(recipe))
    folder.write(folder.weights, to_bytes(build_model(recipe, classes=10, input_shape=(1, 8, 8))))
    made = make_result("r", classes=data.classes, input_shape=(1, 8, 8), data_digest=data.digest)
    folder.finish(made)
    return folder


def invoke(run, *arguments):
    return CliRunner().invoke(cli.app, [*arguments, "--runs", str(run.path.parent)], catch_exceptions=False)


def test_the_table_the_json_and_the_picture_are_of_one_measurement(run) -> None:
    asked = ("sensitivity", "r", "--ratios", "0.75, 0.25", "--criterion", "l2", "--set", "finetune.batch_size=16")
    shown = invoke(run, *asked)
    found = Sensitivity.from_json(invoke(run, *asked, "--json").stdout, source="stdout")
    assert (found.criterion, found.ratios, found.recalibrated) == ("l2", (0.25, 0.75), 0)
    assert "Sensitivity of r\n" in shown.stdout
    for curve in found.curves:
        points = [f"{value:z.1f}" for value in curve.lost]
        rows = [line.split() for line in shown.stdout.splitlines() if line.startswith(f"{curve.root} ")]
        assert rows == [[curve.root, str(curve.channels), f"{100 * curve.saved[-1]:.1f}", *points]]
    assert (run.path / "sensitivity.png").is_file()


def test_without_matplotlib_all_but_the_picture_is_there(monkeypatch, run) -> None:
    for name in [name for name in sys.modules if name.startswith(("namprune.figure", "matplotlib"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = invoke(run, "sensitivity", "r", "--ratios", "0.5", "--json")
    assert Sensitivity.from_json(done.stdout, source="stdout").ratios == (0.5,)
    assert "sensitivity.png was not drawn" in done.stderr
    assert "pip install 'namprune[figures]'" in done.stderr
    assert not (run.path / "sensitivity.png").exists()


@pytest.mark.parametrize("ratios", ["", "0.1,", "0.1,x", "1", "0.5,0", "nan"])
def test_ratios_are_shares(run, ratios) -> None:
    with pytest.raises(UserError, match=r"--ratios '.*' are not numbers above 0 and below 1"):
        invoke(run, "sensitivity", "r", "--ratios", ratios)
    assert not run.sensitivity.exists()


@pytest.mark.parametrize("option", ["--allocation", "--scope"])
def test_allocation_is_another_word_for_scope(run, option) -> None:
    done = invoke(run, "prune", "r", "--ratio", "0.5", "--dry-run", "--json", option, "local")
    assert PruningPlan.from_json(done.stdout, source="stdout").scope == "local"
