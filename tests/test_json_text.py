"""JSON that any reader takes: no NaN, no infinity."""

import json
from typing import Any

import pytest

from namprune.json_text import json_text


def _refuse(name: str) -> Any:
    raise AssertionError(f"{name} is no JSON")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_finite_number_is_null_however_deep(number: float) -> None:
    text = json_text({"a": number, "b": [1.5, {"c": (number, "x", None, True, 2)}]})
    assert json.loads(text, parse_constant=_refuse) == {"a": None, "b": [1.5, {"c": [None, "x", None, True, 2]}]}
