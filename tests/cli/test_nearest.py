"""A name that is not there, through the command line: what was meant is said, in the same words everywhere."""

import pytest
from typer.testing import CliRunner

from namprune.cli import app
from namprune.errors import NampruneError
from namprune.nearest import did_you_mean, nearest


def said(arguments) -> str:
    """The error's line and hint."""
    fault = CliRunner().invoke(app, arguments).exception
    assert isinstance(fault, NampruneError), fault
    return f"{fault.message}\n{fault.hint}"


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["runs", "show", "resnet20-s0"], "resnet20-nam-s0"),
        (["evaluate", "resnet20_nam_s0"], "resnet20-nam-s0"),
        (["prune", "Resnet20-nam-s0"], "resnet20-nam-s0"),
        (["prune", "--resume", "resnet20-nam-s"], "resnet20-nam-s0"),
        (["report", "resnet20-nam-s0", "mobilenet-s0"], "mobilenetv2-s0"),
        (["export", "mobilnetv2-s0"], "mobilenetv2-s0"),
    ],
)
def test_a_run(save, make_result, store, arguments, meant) -> None:
    for name in ("resnet20-nam-s0", "mobilenetv2-s0"):
        save(make_result(name))
    where = ["--runs", str(store.root)]
    assert said([*arguments, *where]).endswith(f"\ndid you mean {meant!r}?")


def test_where_none_is_near_those_there_are_are_told(save, make_result, store) -> None:
    where = ["--runs", str(store.root)]
    assert said(["runs", "show", "zzz", *where]).endswith("there are none")
    save(make_result("a"))
    save(make_result("b"))
    assert said(["runs", "show", "zzz", *where]).endswith("there are a, b")


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["train", "--recipe", "quickstrat"], "quickstart"),
        (["recipes", "show", "resnet21"], "resnet20"),
        (["recipes", "validate", "pre-trained"], "pretrained"),
        (["recipes", "validate", "quickstart", "--set", "train.epoch=3"], "epochs"),
        (["recipes", "validate", "quickstart", "--set", "tarin.epochs=3"], "train"),
        (["recipes", "validate", "quickstart", "--set", "attention.name=namm"], "nam"),
        (["recipes", "validate", "quickstart", "--set", "prune.criterion=tailor"], "taylor"),
        (["recipes", "validate", "quickstart", "--set", "data.name=cifar01"], "cifar10"),
        (["recipes", "validate", "quickstart", "--set", "model.name=mobilenet_v2"], "mobilenetv2"),
        (["recipes", "validate", "quickstart", "--set", "model.source=torchvison"], "torchvision"),
        (["compare", "--recipe", "quickstart", "--attention", "nma"], "nam"),
        (["train", "--model", "torch-vision:resnet18"], "torchvision:resnet18"),
    ],
)
def test_what_a_recipe_or_option_names(arguments, meant) -> None:
    assert f"did you mean {meant!r}?" in said(arguments)


def test_a_format_of_reports(save, make_result, store) -> None:
    save(make_result("a"))
    assert said(["report", "--output", "x.htlm", "--runs", str(store.root)]).endswith("did you mean 'html'?")


def test_a_recipe_file(tmp_path) -> None:
    (tmp_path / "mine.yaml").touch()
    assert said(["train", "--recipe", str(tmp_path / "mien.yml")]).endswith(f"did you mean '{tmp_path}/mine.yaml'?")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["init", "--model", "torchvision:resnet19", "--output", "new.yaml"], "did you mean 'resnet18'?"),
        (["prune", "r", "--dry-run", "--set", "prune.keep=[stgaes.0.0.conv1]"], "did you mean 'stages.0.0.conv1'?"),
        (["explain", "r", "a.png", "--class", "ten"], "there are 0, 1, 2, 3"),
    ],
)
def test_what_only_a_network_knows(run, tmp_path, monkeypatch, arguments, words) -> None:
    where = [] if arguments[0] == "init" else ["--runs", str(run.path.parent)]
    monkeypatch.chdir(tmp_path)
    assert words in said([*arguments, *where])


@pytest.mark.parametrize(
    ("word", "names", "meant"),
    [
        ("resnet21", ["resnet32", "resnet20"], "resnet20"),  # equally near: the letters that are in place decide
        ("ONE-TWO", ["one_two"], "one_two"),
        ("zzz", ["nam", "none"], None),
        ("", ["nam"], None),
        ("x" * 100_000, ["nam"], None),
    ],
)
def test_the_nearest_name(word, names, meant) -> None:
    assert nearest(word, names) == meant


def test_few_of_many_names_are_told() -> None:
    assert did_you_mean("zzz", [f"n{i}" for i in range(100)]).endswith("n11 and 88 more")
