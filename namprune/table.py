"""A table of text cells, and how numbers are written in one; it is shown or saved elsewhere."""

from dataclasses import KW_ONLY, dataclass

MISSING = "–"
"""Stands where there is no number."""

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


@dataclass(frozen=True)
class Table:
    """Rows of cells under named columns, with lines of explanation below."""

    title: str
    _: KW_ONLY
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1
    """The first so many columns are words, the others numbers."""
    notes: tuple[str, ...] = ()


def quantity(value: float | None, unit: str = "") -> str:
    """Three significant digits with an SI prefix: 20_600_000 is `20.6 M`, 0.00484 with unit s `4.84 ms`."""
    if value is None:
        return MISSING
    if value == 0:
        return f"0 {unit}".rstrip()
    # 999.5 is where three digits round up into the next prefix
    factor, prefix = next(((f, p) for f, p in _PREFIXES if abs(value) >= 0.9995 * f), _PREFIXES[-1])
    scaled = value / factor
    digits = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
    if factor == 1.0 and isinstance(value, int):
        digits = 0
    return f"{scaled:.{digits}f} {prefix}{unit}".rstrip()


def duration(seconds: float) -> str:
    """Time that work takes, for people: `0.8 s`, `43 s`, `2 min 05 s`, `12 min`, `1 h 05 min`, `2 d 3 h`."""
    whole, minutes, hours = round(seconds), round(seconds / 60), round(seconds / 3600)
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60:02} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{hours // 24} d {hours % 24} h"


def counted(number: int, thing: str) -> str:
    """`1 thread`, `8 threads`."""
    return f"{number} {thing}{'s' * (number != 1)}"


def worded(value: float, unit: str) -> str:
    """`5.00 ms`, `2.00 MB`, `0.4x parameters`: an SI prefix for seconds and bytes, else `unit` stands behind."""
    return quantity(value, unit) if unit in ("s", "B") else f"{value:.3g}{unit}"


def percent(share: float | None, *, spread: float | None = None) -> str:
    """A share in [0, 1] in per cent, with its spread: `91.42 ± 0.13`."""
    if share is None:
        return MISSING
    return f"{100 * share:.2f}" if spread is None else f"{100 * share:.2f} ± {100 * spread:.2f}"


def points(gain: float | None) -> str:
    """A difference in percentage points: `-1.05`."""
    return MISSING if gain is None else f"{gain:+.2f}"


def times(ratio: float | None) -> str:
    """A ratio as a factor: `0.52x`."""
    return MISSING if ratio is None else f"{ratio:.2f}x"


def minute(created: str) -> str:
    """ISO 8601 without seconds and zone."""
    return created[:16].replace("T", " ")
