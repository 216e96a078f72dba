"""namprune explain as a user runs it."""

import json
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

from namprune import cli
from namprune.errors import DataError, UserError


@pytest.fixture
def image(tmp_path):
    """A picture file."""
    file = tmp_path / "grey.png"
    Image.linear_gradient("L").save(file)
    return file


def test_the_table_and_the_json_say_what_was_written(run, image, tmp_path) -> None:
    out = tmp_path / "out"
    arguments = ["explain", "r", str(image), "--runs", str(run.path.parent), "--out", str(out), "--class", "3"]
    shown = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert str(out / "grey-r.png") in shown.stdout
    tree = json.loads(CliRunner().invoke(cli.app, [*arguments, "--json"], catch_exceptions=False).stdout)
    (one,) = tree["images"]
    assert (tree["run"], one["image"], one["file"]) == ("r", str(image), str(out / "grey-r.png"))
    assert (one["target"], one["dense"]["run"], one["pruned"], one["correlation"]) == ("3", "r", None, None)
    assert f"{100 * one['dense']['target_probability']:.2f} %" in shown.stdout
    assert [path.name for path in out.iterdir()] == ["grey-r.png"]


@pytest.mark.parametrize("library", ["captum", "matplotlib"])
def test_a_missing_library_is_named_before_any_work(monkeypatch, run, tmp_path, library) -> None:
    ours = ("namprune.cam", "namprune.figure", "namprune.stages.explain")
    loaded = [name for name in sys.modules if name.startswith((*ours, library))]
    for name in loaded:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    arguments = ["explain", "r", "none.png", "--runs", str(run.path.parent), "--out", str(tmp_path / "out")]
    with pytest.raises(UserError, match=f"{library} is not installed") as caught:
        CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert not isinstance(caught.value, DataError)
    assert caught.value.hint == "pip install 'namprune[explain]'"
    assert not (tmp_path / "out").exists()
