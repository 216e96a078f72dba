"""The name that was meant where one was given that is not there, in the same words everywhere."""

from collections.abc import Collection, Iterable
from difflib import SequenceMatcher, get_close_matches

CLOSE = 0.6
"""Least similarity (difflib's ratio) of a name that may have been meant."""

LISTED = 12
"""Names that are told at most where none is near."""


def nearest(word: str, names: Iterable[str], *, close: float = CLOSE) -> str | None:
    """The name that is most like `word`, or None; case does not count, nor - beside _."""
    return next(iter(_alike(word, names, close)), None)


def did_you_mean(word: str, names: Collection[str]) -> str:
    """A hint: `did you mean 'nam'?`, with those that are as near, or where none is `there are nam, se, none`."""
    alike = _alike(word, names, CLOSE)
    return f"did you mean {' or '.join(map(repr, alike))}?" if alike else there_are(names)


def there_are(names: Collection[str]) -> str:
    """The names, but for those that would be too many."""
    if not names:
        return "there are none"
    more = len(names) - LISTED
    return f"there are {', '.join([*names][:LISTED])}" + (f" and {more} more" if more > 0 else "")


def _alike(word: str, names: Iterable[str], close: float) -> list[str]:
    """The nearest names, equally near: of others about as near, resnet21 means resnet20 rather than resnet32."""
    spelled = {_plain(name): name for name in names}
    plain = _plain(word[:80])

    def likeness(name: str) -> tuple[int, float]:
        return sum(map(str.__eq__, plain, name)), SequenceMatcher(None, name, plain).ratio()

    near = get_close_matches(plain, spelled, cutoff=close)
    best = max(map(likeness, near), default=None)
    return [meant for name, meant in spelled.items() if name in near and likeness(name) == best]


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")
