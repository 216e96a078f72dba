"""The reference pages are what the code says today."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REFERENCE = runpy.run_path(str(ROOT / "scripts" / "make_reference.py"))


@pytest.mark.parametrize("path", REFERENCE["PAGES"])
def test_reference_pages_are_fresh(path: str) -> None:
    written = (ROOT / path).read_text(encoding="utf-8")
    assert written == REFERENCE["PAGES"][path](), "run python scripts/make_reference.py"


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 0, "maximum": 64}, "whole number from 0 to 64"),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, "number above 0, below 1"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 0.5}, "number above 0, up to 0.5"),
        ({"type": "integer", "minimum": 20}, "whole number of at least 20"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text or `null`"),
        ({"enum": ["sum", "mean"]}, "`sum` or `mean`"),
    ],
)
def test_values_in_words(schema: dict[str, object], words: str) -> None:
    assert REFERENCE["value_of"](schema) == words
