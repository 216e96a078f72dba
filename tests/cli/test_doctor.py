"""namprune doctor: what it finds, and when it fails."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

import namprune
from namprune.cli import app
from namprune.stages.doctor import EXTRAS

run = CliRunner().invoke


def findings(*arguments, code=0):
    done = run(app, ["doctor", "--json", *arguments])
    assert done.exit_code == code, done.output
    told = json.loads(done.stdout)
    assert told["works"] == (code == 0)
    return {(one["area"], one["name"]): one for one in told["findings"]}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_it_tries_what_the_rest_relies_on(monkeypatch, save, make_result, store) -> None:
    save(make_result("a"))
    monkeypatch.setitem(EXTRAS, "figures", ("figures", ("no_such_module",)))
    found = findings("--runs", str(store.root))
    for thing in (("device", "cpu trains"), ("device", "cut"), ("data", "digits"), ("software", "packages")):
        assert found[thing]["state"] == "ok", found[thing]
    extra = found["extra", "figures"]
    assert (extra["state"], extra["remedy"]) == ("missing", "pip install 'namprune[figures]'")
    assert found["data", "cifar10"]["state"] == "missing"
    assert found["runs", str(store.root)]["found"] == "writable; 1 finished"


def test_pictures_are_found_where_they_are_said_to_be(tmp_path) -> None:
    for file in ("train/cat/a.png", "train/dog/b.JPG", "val/cat/c.png", "val/dog/d.png"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    assert findings("--data", ".")["data", "."]["found"] == "2 classes, pictures: 2 in train, 2 in val"
    (tmp_path / "val/dog/d.png").unlink()
    found = findings("--data", ".")["data", "."]
    assert (found["state"], found["found"]) == ("missing", "val/dog: no pictures in this class folder")
    (tmp_path / "data/cifar10/cifar-10-batches-py").mkdir(parents=True)
    assert findings()["data", "cifar10"]["state"] == "ok"


def test_a_place_that_cannot_be_written_is_a_failure(tmp_path) -> None:
    (tmp_path / "file").touch()
    assert findings("--runs", "file/runs", code=1)["runs", "file/runs"]["state"] == "broken"


def test_an_installation_without_torch_is_told_so(tmp_path) -> None:
    script = (
        "import sys\nsys.modules['torch'] = None\nsys.argv = ['namprune', 'doctor', '--json']\n"
        "from namprune.cli import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1, done.stderr
    broken = [one for one in json.loads(done.stdout)["findings"] if one["state"] == "broken"]
    assert [(one["name"], one["remedy"]) for one in broken] == [("torch", "pip install --upgrade namprune")]


def test_it_speaks_to_people_and_proposes_what_is_next(tmp_path) -> None:
    done = run(app, ["doctor"])
    assert done.exit_code == 0
    assert "half of the channels of three layers" in done.stdout
    assert done.stderr == "next: namprune train --recipe quickstart\n"


def test_every_extra_is_looked_for() -> None:
    project = tomllib.loads((Path(namprune.__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    assert EXTRAS.keys() == project["project"]["optional-dependencies"].keys() - {"docs", "dev"}
