"""How numbers are written."""

import pytest

from namprune.table import percent, quantity, times


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


def test_shares_and_ratios() -> None:
    assert percent(0.91421, spread=0.00131) == "91.42 ± 0.13"
    assert percent(0.5) == "50.00"
    assert times(0.516) == "0.52x"
