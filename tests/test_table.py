"""How numbers are written."""

import pytest

from namprune.table import counted, duration, percent, quantity, times


@pytest.mark.parametrize(
    ("value", "unit", "written"),
    [
        (0, "", "0"),
        (650, "", "650"),
        (20_600_000, "", "20.6 M"),
        (999_499, "", "999 k"),
        (999_500, "", "1.00 M"),
        (9_999, "", "10.0 k"),
        (1_298_000_000, "", "1.30 G"),
        (0.00484, "s", "4.84 ms"),
        (0.00062, "s", "620 µs"),
        (1.5, "s", "1.50 s"),
        (4, "B", "4 B"),
        (None, "", "–"),
    ],
)
def test_a_quantity_has_three_digits_and_a_prefix(value: float | None, unit: str, written: str) -> None:
    assert quantity(value, unit) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.04, "0.0 s"),
        (0.8, "0.8 s"),
        (9.96, "10 s"),
        (43.4, "43 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (720, "12 min"),
        (3599, "1 h 00 min"),
        (3900, "1 h 05 min"),
        (86_399, "1 d 0 h"),
        (2 * 86_400 + 3 * 3600, "2 d 3 h"),
    ],
)
def test_a_duration_has_the_two_units_that_tell(seconds: float, written: str) -> None:
    assert duration(seconds) == written


def test_one_of_a_thing_and_several() -> None:
    assert [counted(number, "thread") for number in (0, 1, 2)] == ["0 threads", "1 thread", "2 threads"]


def test_shares_and_ratios() -> None:
    assert percent(0.91421, spread=0.00131) == "91.42 ± 0.13"
    assert percent(0.5) == "50.00"
    assert times(0.516) == "0.52x"
