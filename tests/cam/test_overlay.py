import io

import numpy as np
import pytest
import torch
from PIL import Image

from namprune.cam import Panel, draw

SIDE = 4


def decoded(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def share(pixels: np.ndarray, colour: tuple[int, int, int]) -> float:
    """Of the pixels, those of exactly this colour."""
    return float((pixels == colour).all(-1).mean())


def two_colours() -> torch.Tensor:
    picture = torch.zeros(SIDE, SIDE, 3, dtype=torch.uint8)
    picture[:2] = torch.tensor([10, 200, 30], dtype=torch.uint8)
    picture[2:] = torch.tensor([150, 20, 220], dtype=torch.uint8)
    return picture


def test_the_picture_is_shown_pixel_by_pixel_beside_its_maps() -> None:
    panels = [Panel(title="a", heat=torch.zeros(SIDE, SIDE)), Panel(title="b", heat=torch.ones(SIDE, SIDE))]
    pixels = decoded(draw(two_colours(), panels, title="p", caption="c"))
    third = pixels.shape[1] // 3
    for colour in ((10, 200, 30), (150, 20, 220)):  # enlarged, without a colour between
        assert share(pixels[:, :third], colour) > 0.3
        assert share(pixels[:, third:], colour) == 0
    cold, hot = pixels[:, third : 2 * third], pixels[:, 2 * third :]
    middle = (slice(pixels.shape[0] // 2 + 20, pixels.shape[0] // 2 + 40), slice(third // 2, third // 2 + 20))
    below = (150, 20, 220)
    assert np.abs(cold[middle] - below).max() < 40  # shines through
    assert np.abs(hot[middle] - below).max() > 80


def test_heat_is_where_the_map_is_high() -> None:
    heat = torch.zeros(16, 16)
    heat[:, 8:] = 1
    pixels = decoded(
        draw(torch.zeros(16, 16, 1, dtype=torch.uint8), [Panel(title="", heat=heat)], title="", caption="")
    )
    red = pixels[..., 0] - pixels[..., 2] > 40
    assert np.nonzero(red)[1].min() > 0.7 * pixels.shape[1]  # the right half of the right panel
    assert 0.15 < red.mean() < 0.25


def test_grey_pictures_stay_grey() -> None:
    grey = torch.arange(16, dtype=torch.uint8).view(4, 4, 1) * 16
    pixels = decoded(draw(grey, [], title="", caption=""))
    assert (pixels.max(-1) == pixels.min(-1)).all()
    assert {(value, value, value) for value in range(0, 256, 16)} <= {tuple(p) for p in pixels.reshape(-1, 3)}


@pytest.mark.parametrize("name", ["a $b and c$", "^_{", "\\frac", "猫", "long-" * 40])
def test_any_name_can_stand_above(name) -> None:
    panel = Panel(title=f"{name}\n{name}", heat=torch.ones(SIDE, SIDE))
    pixels = decoded(draw(two_colours(), [panel], title=name, caption=name))
    bare = decoded(draw(two_colours(), [Panel(title="", heat=panel.heat)], title="", caption=""))
    assert len(pixels) > len(bare)  # higher by the text
