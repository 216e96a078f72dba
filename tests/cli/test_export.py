"""namprune export as a user runs it."""

import json
import sys

import pytest
from typer.testing import CliRunner

from namprune import cli
from namprune.checkpoint import to_bytes
from namprune.errors import UserError
from namprune.models import build_model
from namprune.recipe import dump_recipe, load_recipe


@pytest.fixture
def run(store, make_result):
    """A finished run of an untrained network."""
    recipe = load_recipe("quickstart", overrides=["model.width=0.25", "runtime.device=cpu"])
    folder = store.create("r", recipe=dump_recipe(recipe))
    folder.write(folder.weights, to_bytes(build_model(recipe, classes=10, input_shape=(1, 8, 8))))
    folder.finish(make_result("r", classes=tuple("0123456789"), input_shape=(1, 8, 8)))
    return folder


def invoke(run, *arguments):
    return CliRunner().invoke(
        cli.app, ["export", "r", "--runs", str(run.path.parent), *arguments], catch_exceptions=False
    )


def test_the_table_and_the_json_say_what_was_written(run, tmp_path) -> None:
    shown = invoke(run, "--format", "safetensors")
    file = run.exports_folder / "model.safetensors"
    for part in (str(file), "safetensors", "0 in a logit"):
        assert part in shown.stdout
    assert "next: namprune " in shown.stderr
    out = tmp_path / "net.safetensors"
    tree = json.loads(invoke(run, "--format", "safetensors", "--out", str(out), "--json").stdout)
    assert (tree["run"], tree["path"], tree["file"], tree["difference"]) == ("r", str(out), out.name, 0)
    assert tree["bytes"] == out.stat().st_size
    assert not (out.parent / "export").exists()


def test_a_missing_library_is_named_before_any_work(monkeypatch, run) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match="onnxruntime is not installed") as caught:
        invoke(run)
    assert caught.value.hint == "pip install 'namprune[onnx]'"
    assert not run.exports_folder.exists()
