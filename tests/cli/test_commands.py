"""What each command that needs no network prints, for people and as JSON."""

import json

import pytest
from typer.testing import CliRunner

from namprune.cli import app
from namprune.cli.overrides import KEYS, resolve
from namprune.errors import RecipeError, RunError

run = CliRunner().invoke


def test_runs_lists_every_state(store, save, make_result, make_pruned) -> None:
    dense = make_result("d")
    save(dense)
    save(make_pruned("p", parent=dense, top1=0.8765))
    store.create("cut-short", recipe="")
    listed = json.loads(run(app, ["runs", "--json", "--runs", str(store.root)]).stdout)["runs"]
    assert [(entry["name"], entry["state"]) for entry in listed] == [
        ("cut-short", "unfinished"),
        ("d", "finished"),
        ("p", "finished"),
    ]
    assert (listed[2]["parent"], listed[2]["test_top1"]) == ("d", 0.8765)
    shown = run(app, ["runs", "--runs", str(store.root)])
    assert "87.65" in shown.stdout
    assert "interrupted" in shown.stdout
    empty = run(app, ["runs", "--json", "--runs", str(store.root / "none")])
    assert json.loads(empty.stdout) == {"runs": []}


def test_runs_says_who_is_at_work_and_what_goes_on(store, make_start) -> None:
    store.create("cut-short", recipe="", start=make_start("prune", parent="d"))
    arguments = ["runs", "--runs", str(store.root)]
    with store.create("working", recipe="", start=make_start("train")).claimed():
        listed = json.loads(run(app, [*arguments, "--json"]).stdout)["runs"]
        shown = run(app, arguments).stdout
    assert [(entry["state"], entry["kind"], entry["parent"]) for entry in listed] == [
        ("unfinished", "prune", "d"),
        ("running", "train", None),
    ]
    assert f"`namprune prune --resume cut-short --runs {store.root}` goes on with it" in shown
    assert "run 'working' is at work in process" in shown


def test_runs_show_checks_the_files(store, save, make_result, make_pruned) -> None:
    dense = make_result("d")
    save(dense)
    folder = save(make_pruned("p", parent=dense))
    arguments = ["runs", "show", "p", "--runs", str(store.root)]
    shown = run(app, arguments).stdout
    for part in ("0.5 nam global", "100 to 50", "trained", "latency, batch 64: 5.00 ms, 0.50x of dense"):
        assert part in shown
    tree = json.loads(run(app, [*arguments, "--json"]).stdout)
    assert (tree["path"], tree["cut"]["ratio"]) == (str(folder.path), 0.5)
    folder.weights.write_bytes(b"other")
    with pytest.raises(RunError, match=r"model\.safetensors"):
        run(app, arguments, catch_exceptions=False)


def test_report_formats_on_stdout(store, save, make_result) -> None:
    save(make_result("a"))
    where = ["--runs", str(store.root)]
    assert "Accuracy against cost" in run(app, ["report", *where]).stdout
    assert run(app, ["report", "--format", "csv", *where]).stdout.startswith("Data,Model")
    as_json = run(app, ["report", "a", "--format", "json", *where]).stdout
    assert as_json == run(app, ["report", "a", "--json", *where]).stdout


def test_report_writes_the_format_of_the_suffix(store, save, make_result, tmp_path) -> None:
    save(make_result("a"))
    target = tmp_path / "report.csv"
    done = run(app, ["report", "--output", str(target), "--runs", str(store.root)])
    assert done.stdout == ""
    assert str(target) in done.stderr
    assert target.read_text().startswith("Data,Model")


def test_recipes_are_listed_shown_and_checked(tmp_path) -> None:
    names = [recipe["name"] for recipe in json.loads(run(app, ["recipes", "--json"]).stdout)["recipes"]]
    assert "quickstart" in names
    text = run(app, ["recipes", "show", "quickstart"]).stdout
    assert json.loads(run(app, ["recipes", "show", "quickstart", "--json"]).stdout)["text"] == text
    own = tmp_path / "own.yaml"
    own.write_text(text)
    assert run(app, ["recipes", "validate", str(own)]).stdout == f"{own}: valid\n"
    schema = run(app, ["recipes", "schema"]).stdout
    assert "properties" in json.loads(schema)
    assert json.loads(run(app, ["recipes", "schema", "--json"]).stdout) == json.loads(schema)


def test_options_pass_through_the_recipes_checker() -> None:
    recipe = resolve(
        "quickstart", sets=["prune.ratio=0.2"], options={"--ratio": 0.4, "--data": "1e3: #x", "--scope": None}
    )
    assert (recipe.prune.ratio, recipe.data.root) == (0.4, "1e3: #x")
    with pytest.raises(RecipeError) as caught:
        resolve("quickstart", sets=["train.epochs=-1"], options={"--ratio": 1.5, "--round-to": 0})
    assert len(caught.value.faults) == 3
    for fault in ("--set train.epochs=-1", "--ratio 1.5", "--round-to 0"):
        assert any(line.startswith(fault) for line in caught.value.faults)
    with pytest.raises(RecipeError, match=r"^--steps 3: prune\.steps: 3 cuts .* raise finetune\.epochs from 1"):
        resolve("quickstart", sets=["finetune.epochs=1"], options={"--steps": 3})  # a fault of two sections


@pytest.mark.parametrize(
    ("option", "value"),
    [("--target-params", 0.4), ("--target-latency", "5ms"), ("--target-size", "2MB"), ("--max-drop", 0.5)],
)
def test_one_option_says_how_much_goes(option, value) -> None:
    section = resolve("quickstart", sets=None, options={option: value, "--round-to": "auto"}).prune
    assert (section.ratio, section.round_to) == (None, "auto")
    assert getattr(section, KEYS[option].removeprefix("prune.")) == value
    with pytest.raises(RecipeError, match="exclude each other"):
        resolve("quickstart", sets=None, options={option: value, "--ratio": 0.5})
    with pytest.raises(RecipeError, match=rf"{option} \"?0"):
        resolve("quickstart", sets=None, options={option: type(value)(0)})


@pytest.mark.parametrize("ratio", ["1.5", "0", "-0.1", "1", "nan"])
def test_prune_refuses_a_ratio_before_it_loads_anything(store, save, make_result, ratio) -> None:
    folder = save(make_result("a"))
    folder.write(folder.recipe, run(app, ["recipes", "show", "quickstart"]).stdout)
    before = sorted(store.root.rglob("*"))
    with pytest.raises(RecipeError, match="--ratio"):
        run(app, ["prune", "--ratio", ratio, "--runs", str(store.root)], catch_exceptions=False)
    assert sorted(store.root.rglob("*")) == before
