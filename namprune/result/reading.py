"""Frozen records to JSON and back: a value of the wrong type is named by its path."""

import dataclasses
import functools
import json
import math
import types
import typing
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from namprune.errors import RunError
from namprune.json_text import json_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Record = TypeVar("Record")
_BROKEN = "the run is broken; delete its folder"


def to_json(record: "DataclassInstance") -> str:
    """A record as indented JSON with a closing newline; a number that is not finite is null."""
    return json_text(dataclasses.asdict(record), indent=2, ascii_only=False) + "\n"


def record_from_json(kind: type[Record], text: str, *, source: str) -> Record:
    """Read any frozen record that `to_json` wrote; null for a number is NaN.

    Raises:
        RunError: not JSON, or a value of the wrong type; `source` names the file.
    """
    return record(kind, parse(text, source=source), source=source)


def parse(text: str, *, source: str) -> Any:
    """Any JSON value.

    Raises:
        RunError: it is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{source}: not JSON ({error})", hint=_BROKEN) from error


def record(kind: type[Record], tree: Any, *, source: str) -> Record:
    """A parsed JSON value as a record.

    Raises:
        RunError: a key or value that it does not have.
    """
    try:
        built: Record = _build(kind, tree, kind.__name__)
    except (TypeError, ValueError, OverflowError) as error:
        raise RunError(f"{source}: {error}", hint=_BROKEN) from error
    return built


def _build(kind: Any, value: Any, path: str) -> Any:
    """`value` from JSON as the annotation `kind`; ValueError names the path of what differs."""
    if type(value) is kind:  # most of a record, and by far the quickest to tell
        return value
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _build_record(kind, value, path)
    if origin in (types.UnionType, typing.Union):  # the latter is what `Literal[...] | None` makes
        inner = next(a for a in arguments if a is not type(None))
        return None if value is None and type(None) in arguments else _build(inner, value, path)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{path}: {value!r} is not one of {', '.join(map(repr, arguments))}")
        return value
    if origin is tuple:
        return _build_tuple(arguments, value, path)
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{path}: expected an object, got {type(value).__name__}")
        return {key: _build(arguments[1], item, f"{path}.{key}") for key, item in value.items()}
    if kind is float and value is None:
        return math.nan
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    raise ValueError(f"{path}: expected {kind.__name__}, got {value!r}")


def _build_record(kind: type, value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected an object, got {type(value).__name__}")
    hints, needed = _keys(kind)
    if unknown := sorted(value.keys() - hints.keys()):
        raise ValueError(f"{path}.{unknown[0]}: unknown key")
    if missing := sorted(needed - value.keys()):
        raise ValueError(f"{path}.{missing[0]}: missing")
    return kind(**{key: _build(hints[key], item, f"{path}.{key}") for key, item in value.items()})


@functools.cache
def _keys(kind: type) -> tuple[dict[str, Any], frozenset[str]]:
    """The keys of a record with their annotations, and those without a default.

    Annotations are evaluated from text, which takes longer than all else of reading a record.
    """
    needed = (field.name for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING)
    return typing.get_type_hints(kind), frozenset(needed)


def _build_tuple(arguments: tuple[Any, ...], value: Any, path: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{path}: expected a list, got {type(value).__name__}")
    if arguments[-1] is Ellipsis:
        return tuple(_build(arguments[0], item, f"{path}[{i}]") for i, item in enumerate(value))
    if len(value) != len(arguments):
        raise ValueError(f"{path}: expected {len(arguments)} values, got {len(value)}")
    return tuple(_build(a, item, f"{path}[{i}]") for i, (a, item) in enumerate(zip(arguments, value, strict=True)))
