import io

import numpy as np
from PIL import Image

from namprune.figure import heat_map

LIGHT, MIDDLE, DARK = (247, 251, 255), (106, 174, 214), (8, 48, 107)
"""Of matplotlib's Blues: its ends, and its middle."""


def places(pixels: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, float, float]:
    """How many pixels have this colour, within rounding, and their mean row and column."""
    found = np.argwhere((np.abs(pixels - colour) <= 1).all(-1))
    return len(found), *found.mean(0)


def test_a_heat_map_is_darker_where_more_is_and_lightest_below_zero() -> None:
    png = heat_map(
        [[0.0, 100.0], [-40.0, 25.0]], rows=["$a", "b"], columns=["0.1", "0.9"], title="t $", across="x", unit="u"
    )
    with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    light, middle, dark = (places(pixels, colour) for colour in (LIGHT, MIDDLE, DARK))
    assert 1.6 < light[0] / dark[0] < 2.4  # zero and below it are alike
    assert 0.7 < middle[0] / dark[0] < 1.3  # a quarter of the most is half as dark: a root
    assert light[2] < dark[2]
    assert abs(middle[2] - dark[2]) < 0.1 * pixels.shape[1]
    assert dark[1] < middle[1]


def test_no_loss_at_all_is_a_light_picture() -> None:
    png = heat_map([[0.0, -1.0]], rows=["a"], columns=["0.1", "0.9"], title="t", across="x", unit="u")
    with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert places(pixels, LIGHT)[0] > 0.2 * pixels[..., 0].size
