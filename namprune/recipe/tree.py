"""YAML text to a plain tree, and the line of each key. What could surprise or explode is refused."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, TypeAlias

import yaml

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys and list positions from the top to a value."""

MAX_BYTES = 64 * 1024
MAX_DEPTH = 20
MAX_VALUES = 4000  # bounds the time to read and to explain; the largest sensible recipe has about 150

# YAML 1.2: `on` and `yes` are words, `1e-4` is a number. PyYAML itself follows 1.1, where it is the reverse.
_WORDS = {"": None, "~": None} | {
    spelling: value
    for word, value in {"null": None, "true": True, "false": False}.items()
    for spelling in (word, word.capitalize(), word.upper())
}
_INT = re.compile(r"[-+]?[0-9]{1,100}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


class TreeError(Exception):
    """Text that is refused; `line` counts from 1."""

    def __init__(self, message: str, *, line: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A value of dicts, lists and scalars, and the line on which each of its key paths stands."""

    value: Any
    lines: dict[KeyPath, int]


def read_tree(raw: bytes) -> Tree:
    """Read one YAML document.

    Raises:
        TreeError: empty, too large, too deep, not UTF-8, not YAML, or with anchors, tags, doubled keys.
    """
    if len(raw) > MAX_BYTES:
        raise TreeError(f"larger than {MAX_BYTES // 1024} KB", line=1)
    lines: dict[KeyPath, int] = {}
    try:
        value = _document(yaml.parse(raw.decode(), Loader=yaml.SafeLoader), lines)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise TreeError(f"byte 0x{raw[error.start]:02x} is not UTF-8", line=line) from None
    except yaml.reader.ReaderError as error:
        line = raw.decode().count("\n", 0, error.position) + 1
        raise TreeError(f"character U+{error.character:04X} is not allowed", line=line) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise TreeError(f"not YAML: {error.problem}", line=mark.line + 1 if mark else 1) from None
    except (ValueError, OverflowError):  # how PyYAML fails on "\U99999999"
        line = max(lines.values(), default=1)
        raise TreeError("not YAML: an escape that is no character", line=line) from None
    return Tree(value=value, lines=lines)


def scalar(text: str) -> str | int | float | bool | None:
    """What an unquoted YAML word means."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _document(events: Iterator[Any], lines: dict[KeyPath, int]) -> Any:
    next(events)  # start of the stream
    if isinstance(next(events), yaml.StreamEndEvent):
        raise TreeError("empty", line=1)
    value = _value(next(events), events, (), lines)
    next(events)  # end of the document
    following = next(events)
    if not isinstance(following, yaml.StreamEndEvent):
        raise TreeError("a second document (---); only one is read", line=following.start_mark.line + 1)
    return value


def _value(event: Any, events: Iterator[Any], path: KeyPath, lines: dict[KeyPath, int]) -> Any:
    """The value that starts with `event`; takes its other events and notes its lines."""
    line = event.start_mark.line + 1
    lines.setdefault(path, line)
    if event.anchor is not None:  # of an alias, too
        raise TreeError("anchors (&) and aliases (*) are not allowed: write the value out", line=line)
    if event.tag is not None:
        raise TreeError("tags (!) are not allowed", line=line)
    if len(lines) > MAX_VALUES:
        raise TreeError(f"more than {MAX_VALUES} values", line=line)
    if isinstance(event, yaml.ScalarEvent):
        return event.value if event.style else scalar(event.value)
    if len(path) >= MAX_DEPTH:
        raise TreeError(f"nested deeper than {MAX_DEPTH} levels", line=line)
    members = takewhile(lambda member: not isinstance(member, yaml.CollectionEndEvent), events)
    if isinstance(event, yaml.SequenceStartEvent):
        return [_value(item, events, (*path, index), lines) for index, item in enumerate(members)]
    section: dict[str, Any] = {}
    for key in members:
        name = _new_key(key, section)
        lines[*path, name] = key.start_mark.line + 1
        section[name] = _value(next(events), events, (*path, name), lines)
    return section


def _new_key(event: Any, section: dict[str, Any]) -> str:
    """The text of a key, never a boolean or number: `on:` stays "on"."""
    line = event.start_mark.line + 1
    if not isinstance(event, yaml.ScalarEvent) or event.anchor is not None or event.tag is not None:
        raise TreeError("a key must be a plain word", line=line)
    name = str(event.value)
    if name in section:
        raise TreeError(f"key {name[:60]!r} appears twice in one section", line=line)
    return name
