"""The page of the Python API, and README's "From Python": every name is there, and every example runs."""

import copy
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import namprune

ROOT = Path(namprune.__file__).parents[1]
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
EXAMPLES, _, REFERENCE = PAGE.partition("## Every name")
FUNCTIONS = [name for name in namprune.__all__ if inspect.isfunction(getattr(namprune, name))]

RunExamples = Callable[..., dict[str, Any]]


def entry(name: str) -> str:
    """What the page says of a name, on one line."""
    (found,) = re.findall(rf"^- `{name}\b.*?(?=\n(?:- |\n|$)|\Z)", REFERENCE, re.DOTALL | re.MULTILINE)
    return " ".join(found.split())


def test_the_page_has_every_public_name_and_no_other() -> None:
    listed = re.findall(r"^- `(\w+)", REFERENCE, re.MULTILINE)
    closing = re.findall(r"`(\w+)`", REFERENCE.splitlines()[-1])
    assert sorted([*listed, *closing]) == sorted(namprune.__all__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_and_errors_are_those_of_the_code(name: str) -> None:
    function, said = getattr(namprune, name), entry(name)
    signature = inspect.signature(function)
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in signature.parameters.values()]
    written = str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    assert said.startswith(f"- `{name}{written}`: ")
    _, _, raises = (inspect.getdoc(function) or "").partition("Raises:\n")
    assert re.findall(r"`(\w+Error)`", said) == re.findall(r"^    (\w+Error):", raises, re.MULTILINE)


@pytest.mark.slow
def test_the_examples_run(tmp_path: Path, run_examples: RunExamples, capsys: pytest.CaptureFixture[str]) -> None:
    page = run_examples(EXAMPLES)
    said = capsys.readouterr().out
    pictures = page["pictures"]
    with torch.no_grad():
        assert torch.equal(page["again"].eval()(pictures), page["pruned"].model.eval()(pictures))
    assert page["after"].params < 0.5 * page["before"].params
    assert len(page["places"]) == 8
    kept = namprune.RunStore(tmp_path / "runs").open(page["cut"].name).result().final.complexity.params
    assert sum(parameter.numel() for parameter in page["network"].parameters()) == kept
    assert not page["network"].training
    assert f"| {page['cut'].data} |" in said
    assert "no run 'no-such-run' in runs | " in said
    assert max(map(len, (repr(page[name]) for name in ("pruned", "plan", "trained", "cut")))) < 200


def test_the_readme_s_example_runs(run_examples: RunExamples, capsys: pytest.CaptureFixture[str]) -> None:
    model = torch.nn.Sequential(
        *(torch.nn.Conv2d(3, 16, 3), torch.nn.BatchNorm2d(16), torch.nn.ReLU(), torch.nn.Conv2d(16, 8, 3)),
        *(torch.nn.BatchNorm2d(8), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 10)),
    )
    torch.nn.init.uniform_(model[1].weight)
    pictures, another_copy = torch.randn(4, 3, 32, 32), copy.deepcopy(model)
    batches = [(pictures, torch.arange(4))]
    _, _, text = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## From Python")
    page = run_examples(text, model=model, pictures=pictures, batches=batches, another_copy=another_copy)
    assert another_copy[0].out_channels == page["pruned"].model[0].out_channels < 16
    assert "0 16 -> " in capsys.readouterr().out
