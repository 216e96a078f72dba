"""namprune predict as a user runs it."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from namprune import cli
from namprune.checkpoint import to_bytes
from namprune.models import build_model
from namprune.recipe import dump_recipe, load_recipe


@pytest.fixture
def arguments(store, make_result, tmp_path) -> list[str]:
    """Two pictures for an untrained network, one of whose classes has a name that would steer a terminal."""
    recipe = load_recipe("quickstart", overrides=["model.width=0.25", "runtime.device=cpu"])
    folder = store.create("r", recipe=dump_recipe(recipe))
    folder.write(folder.weights, to_bytes(build_model(recipe, classes=3, input_shape=(1, 8, 8))))
    folder.finish(make_result("r", classes=("cat", "big dog", "\x1b[31mred"), input_shape=(1, 8, 8)))
    files = [tmp_path / name for name in ("a.png", "b.jpg")]
    for seed, file in enumerate(files):
        Image.fromarray(np.random.default_rng(seed).integers(256, size=(12, 9, 3), dtype=np.uint8)).save(file)
    return ["predict", "r", *map(str, files), "--runs", str(store.root)]


def test_the_table_and_the_json_say_the_same(arguments) -> None:
    shown = CliRunner().invoke(cli.app, arguments, catch_exceptions=False).stdout
    tree = json.loads(CliRunner().invoke(cli.app, [*arguments, "--json"], catch_exceptions=False).stdout)
    assert tree["run"] == "r"
    assert [one["file"] for one in tree["pictures"]] == arguments[2:4]
    assert "\x1b" not in shown
    for one in tree["pictures"]:
        assert [name for name, _ in one["top"]] != []
        (line,) = (line for line in shown.splitlines() if one["file"] in line)
        cells = [f"{name} {100 * share:.2f} %".replace("\x1b", r"\x1b") for name, share in one["top"]]
        assert [line.index(cell) for cell in cells] == sorted(line.index(cell) for cell in cells)


def test_as_many_classes_as_asked(arguments) -> None:
    tree = json.loads(CliRunner().invoke(cli.app, [*arguments, "--json", "--top", "2"], catch_exceptions=False).stdout)
    assert [len(one["top"]) for one in tree["pictures"]] == [2, 2]
    assert CliRunner().invoke(cli.app, [*arguments, "--top", "0"]).exit_code == 2
