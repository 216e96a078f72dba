"""The examples of a page, to be run as they stand."""

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch


@pytest.fixture
def run_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Runs the Python blocks of a text one after the other, in an empty folder, and gives what they have defined.

    Keywords are names that are there before the first.
    """
    monkeypatch.chdir(tmp_path)

    def run(text: str, **given: Any) -> dict[str, Any]:
        file = tmp_path / "page.py"
        blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        file.write_text("\n".join(blocks), encoding="utf-8")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return runpy.run_path(str(file), init_globals=given)

    return run
