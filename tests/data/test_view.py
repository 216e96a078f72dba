"""Views of training pictures: what they show, and of what they depend."""

import math
import random

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp

from namprune.choices import Augment, Crop
from namprune.data.view import RandomView

SIDE = 32


def view(crop: Crop = "resized", *, least: float = 0.08, augment: Augment = "none") -> RandomView:
    return RandomView(side=SIDE, crop=crop, least=least, augment=augment)


def map_of(width: int, height: int) -> Image.Image:
    """Each pixel's red and green say where it lies: 0 at the left and the top, 250 at the other end."""
    x, y = np.meshgrid(np.linspace(0, 250, width), np.linspace(0, 250, height))
    return Image.fromarray(np.stack([x, y, np.full_like(x, 128)], 2).round().astype(np.uint8))


def shown(one: Image.Image) -> tuple[float, float, float, float]:
    """Width, height, left and top of what is shown of a map, as shares of the picture."""
    pixels = np.asarray(one).astype(float) / 250
    inner = slice(4, SIDE - 4)  # at the edges a resize has fewer pixels to average
    across, down = pixels[SIDE // 2, inner, 0], pixels[inner, SIDE // 2, 1]
    width, height = ((line[-1] - line[0]) * SIDE / (len(line) - 1) for line in (across, down))
    return width, height, across.mean() - width / 2, down.mean() - height / 2


def by_definition(draw: random.Random, picture: Image.Image, least: float) -> Image.Image:
    """A part of a picture, as RandomResizedCrop is defined for one whose own ratio is between 3/4 and 4/3."""
    left, top, w, h = 0, 0, picture.width, picture.height
    for _ in range(10):
        area = picture.width * picture.height * draw.uniform(least, 1)
        ratio = math.exp(draw.uniform(math.log(3 / 4), math.log(4 / 3)))
        width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if width <= picture.width and height <= picture.height:
            left, top = draw.randint(0, picture.width - width), draw.randint(0, picture.height - height)
            w, h = width, height
            break
    return picture.crop((left, top, left + w, top + h)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)


@pytest.mark.parametrize(("width", "height", "least"), [(150, 150, 0.08), (180, 150, 0.5)])
def test_parts_are_distributed_as_defined(width: int, height: int, least: float) -> None:
    picture, draw = map_of(width, height), random.Random(1)
    show = view(least=least).drawn(range(500), 0, 0)
    found = np.array([shown(show(i, picture)) for i in range(500)])
    expected = np.array([shown(by_definition(draw, picture, least)) for _ in range(2000)])
    features = {
        "area": lambda part: part[:, 0] * part[:, 1],
        "ratio": lambda part: np.log(part[:, 0] * width / (part[:, 1] * height)),
        "left": lambda part: part[:, 2],
        "top": lambda part: part[:, 3],
    }
    for name, feature in features.items():
        assert ks_2samp(feature(found), feature(expected)).pvalue > 0.01, name
    assert features["area"](found).min() > least - 0.01


def test_a_view_depends_on_seed_epoch_and_picture_alone() -> None:
    picture = map_of(60, 50)

    def pixels(place: int, numbers: list[int], seed: int, epoch: int) -> bytes:
        return view(augment="randaugment").drawn(numbers, seed, epoch)(place, picture).tobytes()

    first = pixels(0, [7, 8], 1, 2)
    torch.rand(3)
    assert first == pixels(1, [5, 7], 1, 2)
    others = [pixels(1, [7, 8], 1, 2), pixels(0, [7], 1, 3), pixels(0, [7], 2, 2), pixels(0, [7], 2, 1)]
    assert len({first, *others}) == 5


def test_a_view_leaves_the_global_generators_alone() -> None:
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    view(augment="randaugment").drawn([0], 0, 0)(0, map_of(40, 40))
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
    assert (states[2] == np.random.get_state()[1]).all()


def test_randaugment_changes_most_pictures_and_none_changes_nothing() -> None:
    picture = map_of(SIDE, SIDE)
    plain = [view("pad").drawn([i], 0, 0)(0, picture) for i in range(3)]
    assert {one.tobytes() for one in plain} == {picture.tobytes()}
    changed = {view("pad", augment="randaugment").drawn([i], 0, 0)(0, picture).tobytes() for i in range(40)}
    assert len(changed - {picture.tobytes()}) > 30
