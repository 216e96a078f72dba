"""Values of a recipe that carry a unit, or are a word in the place of a number."""

import math
import re
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator

SECONDS = {"ms": 1e-3, "s": 1.0}
BYTES = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

_NUMBER_AND_UNIT = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*([A-Za-z]*)\s*", re.ASCII)
_WIDEST = 256


def latency_of(text: str) -> tuple[float, Literal["share", "seconds"]]:
    """`5ms` as seconds, `0.6` as a share of the latency before the cut; ValueError for anything else."""
    number, unit = _split(text)
    if unit in SECONDS and number > 0:
        return number * SECONDS[unit], "seconds"
    if not unit and 0 < number < 1:
        return number, "share"
    raise ValueError(f"expected a time such as 5ms, or a share of that before the cut such as 0.6, got {text!r}")


def bytes_of(text: str) -> int:
    """`2MB` or `1.5MiB`, or a plain number of bytes, in bytes; ValueError for anything else."""
    number, unit = _split(text)
    if (not unit or unit in BYTES) and (size := round(number * BYTES[unit or "B"])) >= 1:
        return size
    raise ValueError(f"expected a size such as 2MB, 800kB or 1.5MiB, got {text!r}")


def _split(text: str) -> tuple[float, str]:
    found = _NUMBER_AND_UNIT.fullmatch(text)
    number = float(found[1]) if found and len(text) <= 40 else math.nan  # nan is in no range
    return (number, found[2]) if found and math.isfinite(number) else (0.0, "?")


def _text(value: Any) -> str:
    """A quantity as it was written: YAML reads one without a unit as a number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"expected a quantity, got {value!r}")
    return str(value).strip()


def _latency(value: Any) -> str:
    latency_of(text := _text(value))
    return text


def _size(value: Any) -> str:
    bytes_of(text := _text(value))
    return text


def _round_to(value: Any) -> Any:
    number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 5 else value
    if number == "auto" or (type(number) is int and 1 <= number <= _WIDEST):
        return number
    raise ValueError(f"expected auto or a whole number from 1 to {_WIDEST}, got {value!r}")


LatencyTarget = Annotated[str, PlainValidator(_latency, json_schema_input_type=str | float)]
SizeTarget = Annotated[str, PlainValidator(_size, json_schema_input_type=str | int)]
RoundTo = Annotated[
    int | Literal["auto"],
    PlainValidator(_round_to, json_schema_input_type=Annotated[int, Field(ge=1, le=_WIDEST)] | Literal["auto"]),
]
