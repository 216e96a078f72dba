"""The next command that is said after each: true where it is said, and ready to be copied."""

import shlex

import pytest
from PIL import Image
from typer.testing import CliRunner

from namprune import console
from namprune.cli import app
from namprune.cli.next import suggest
from namprune.cli.options import RUNS
from namprune.result import Export, to_json
from namprune.runs import RunStore


def proposed(arguments) -> str | None:
    """The last line on stderr, without the words that say what it is."""
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    lines = [line for line in done.stderr.splitlines() if line.startswith("next: ")]
    return lines[-1].removeprefix("next: ") if lines else None


@pytest.fixture
def pair(save, make_result, make_pruned):
    """A trained run and one that was cut from it."""
    dense = make_result("d", created="2026-01-01T00:00:00+00:00")
    return save(dense), save(make_pruned("p", parent=dense, created="2026-01-02T00:00:00+00:00"))


def exported(folder, *, quantize="none") -> None:
    file = f"{folder.name}-{quantize}.onnx"
    record = Export(
        file=file,
        format="onnx",
        quantize=quantize,
        bytes=1,
        sha256="s",
        difference=0.0,
        val=None,
        test=None,
        weights=folder.result().files["model.safetensors"],
        created="2026-01-01T00:00:00+00:00",
        versions={},
    )
    folder.exports_folder.mkdir(exist_ok=True)
    (folder.exports_folder / file).touch()
    (folder.exports_folder / f"{file}.json").write_text(to_json(record))


def test_a_trained_run_is_to_be_pruned_until_it_is(save, make_result, make_pruned, store) -> None:
    dense = make_result("d")
    save(dense)
    where = ["--runs", str(store.root)]
    assert proposed(["runs", "show", "d", *where]) == f"namprune prune d --runs {store.root}"
    assert proposed(["runs", *where]) == f"namprune prune d --runs {store.root}"
    save(make_pruned("p", parent=dense))
    assert proposed(["runs", "show", "d", *where]) == f"namprune report --runs {store.root}"


def test_a_pruned_run_is_to_be_exported_until_it_is(pair, store) -> None:
    where = ["--runs", str(store.root)]
    assert proposed(["runs", *where]) == f"namprune export p --runs {store.root}"
    exported(pair[1])
    assert proposed(["runs", "show", "p", *where]) == f"namprune bench p --backend onnxruntime --runs {store.root}"


def test_nothing_new_is_to_be_begun_while_there_is_something_unfinished(tmp_path) -> None:
    RunStore(tmp_path).create("cut-short", recipe="")
    assert [proposed([command, "--runs", str(tmp_path)]) for command in ("runs", "report")] == [None, None]


def test_a_plan_is_to_be_carried_out(run, monkeypatch, tmp_path) -> None:
    arguments = [
        "prune",
        "r",
        "--ratio",
        "0.5",
        "--dry-run",
        "--set",
        "prune.keep=[stem*]",
        "--runs",
        str(run.path.parent),
    ]
    monkeypatch.setattr("sys.argv", ["namprune", *arguments])
    line = proposed(arguments)
    assert shlex.split(line) == ["namprune", *(word for word in arguments if word != "--dry-run")]


def test_what_was_seen_is_to_be_explained(run, tmp_path) -> None:
    where = ["--runs", str(run.path.parent)]
    Image.new("L", (8, 8)).save(tmp_path / "my digit.png")
    line = proposed(["predict", "r", str(tmp_path / "my digit.png"), *where])
    assert shlex.split(line) == ["namprune", "explain", "r", f"{tmp_path}/my digit.png", *where]


def test_recipes_are_to_be_trained() -> None:
    assert proposed(["recipes"]) == "namprune train --recipe quickstart"
    sets = ["--set", "train.epochs=3", "--set", "prune.keep=[stem*]"]
    line = proposed(["recipes", "validate", "quickstart", *sets])
    assert shlex.split(line) == ["namprune", "train", "--recipe", "quickstart", *sets]


@pytest.mark.parametrize("arguments", [["runs"], ["recipes"], ["recipes", "validate", "quickstart"]])
def test_programs_hear_of_no_next_command(pair, store, arguments) -> None:
    where = ["--runs", str(store.root)] if arguments == ["runs"] else []
    assert proposed([*arguments, "--json", *where]) is None


def test_it_names_a_foreign_folder_of_runs_and_can_be_copied(capsys, tmp_path) -> None:
    suggest("report", runs=RUNS)
    suggest("explain", "r", "my cat.png", runs=tmp_path / "my runs")
    with console.quiet():
        suggest("report")
    first, second = capsys.readouterr().err.splitlines()
    assert first == "next: namprune report"
    assert shlex.split(second)[1:] == ["namprune", "explain", "r", "my cat.png", "--runs", f"{tmp_path}/my runs"]
