"""The recipe to begin with: it holds, every line of it is explained, and it trains."""

import math

import numpy as np
import pytest
from PIL import Image
from torch.nn.modules.batchnorm import _BatchNorm

from namprune.models import build_model
from namprune.recipe import parse_recipe
from namprune.recipe.tree import read_tree
from namprune.runs import RunStore
from namprune.stages.starter import starter
from namprune.stages.train import train


@pytest.fixture
def folder(tmp_path):
    """Makes a folder of pictures of two classes."""

    def make(*, width, height, each, splits=("train", "val")):
        generator = np.random.default_rng(0)
        for split in splits:
            for name in ("cat", "dog"):
                (tmp_path / "pictures" / split / name).mkdir(parents=True)
                for i in range(each):
                    pixels = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(tmp_path / "pictures" / split / name / f"{i}.png")
        return str(tmp_path / "pictures")

    return make


def travel(recipe, *, images) -> float:
    """B = sum of lr * l1 / (1 - momentum), by the formula: cosine after a linear warm-up, a penalty that rises."""
    steps, fit, total = images // recipe.train.batch_size, recipe.train, 0.0
    for step in range(fit.epochs * steps):
        now = (step + 0.5) / steps
        lr = now / fit.warmup if now < fit.warmup else None
        if lr is None:
            lr = (1 + math.cos(math.pi * (now - fit.warmup) / (fit.epochs - fit.warmup))) / 2
        total += fit.lr * lr * recipe.sparsity.l1_gamma * min(1.0, now / recipe.sparsity.warmup)
    return total / (1 - fit.momentum)


def test_it_fits_the_pictures_and_trains(folder, tmp_path) -> None:
    data = folder(width=20, height=17, each=120)
    text = starter(data=data, model=None)
    recipe = parse_recipe(text, source="recipe.yaml")
    assert (recipe.data.root, recipe.data.image_size, recipe.model.stem) == (data, 17, "cifar")
    assert 1.4 < travel(recipe, images=216) < 1.7
    tiny = ["train.epochs=1", "train.warmup=0", "model.width=0.25", "runtime.device=cpu", "data.limit=40"]
    result = train(parse_recipe(text, source="recipe.yaml", overrides=tiny), store=RunStore(tmp_path / "runs"))
    assert (result.epochs, result.classes) == (1, ("cat", "dog"))


@pytest.mark.parametrize(
    ("width", "height", "splits", "side", "crop", "fraction"),
    [
        (300, 500, ("train", "test"), 224, "resized", 0.1),
        (120, 100, ("train", "val", "test"), 96, "resized", None),
        (40, 33, ("train", "val"), 32, "pad", 0.1),
    ],
)
def test_size_and_crop_follow_the_pictures(folder, width, height, splits, side, crop, fraction) -> None:
    text = starter(data=folder(width=width, height=height, each=2, splits=splits), model=None)
    recipe = parse_recipe(text, source="recipe.yaml")
    assert (recipe.data.image_size, recipe.data.crop) == (side, crop)
    assert ("val_fraction" in text) == (fraction is not None)


def plain(text: str) -> str:
    """Comments of several lines as one."""
    return " ".join(text.replace("#", " ").split())


def test_few_pictures_get_no_penalty_that_outweighs_the_loss(folder) -> None:
    text = starter(data=folder(width=40, height=40, each=4), model=None)
    recipe = parse_recipe(text, source="recipe.yaml")
    assert recipe.sparsity.l1_gamma == 0.01
    assert (recipe.train.epochs, recipe.train.batch_size) == (200, 3)
    assert f"= {travel(recipe, images=7):.1f}; zeros need more than 1.0: more pictures or epochs" in plain(text)


@pytest.mark.parametrize(
    ("model", "attention", "criterion"),
    [
        ({"source": "torchvision", "name": "mobilenet_v3_small"}, "nam", "nam"),
        ({"source": "python", "target": "tests_odd_network:build"}, "none", "nam"),  # of no family that is known
        ({"source": "torchvision", "name": "squeezenet1_1"}, "none", "l1"),  # without BatchNorm
    ],
)
def test_a_network_has_nam_where_it_can_and_a_penalty_that_reaches_zero(
    tmp_path, monkeypatch, model, attention, criterion
) -> None:
    (tmp_path / "tests_odd_network.py").write_text(
        "from torch import nn\n"
        "def build(num_classes):\n"
        "    parts = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten()\n"
        "    return nn.Sequential(*parts, nn.Linear(8, num_classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    recipe = parse_recipe(starter(data=None, model=model), source="recipe.yaml")
    assert (recipe.attention.name, recipe.prune.criterion) == (attention, criterion)
    network = build_model(recipe, classes=10, input_shape=(3, 224, 224))
    factors = sorted(abs(v) for m in network.modules() if isinstance(m, _BatchNorm) for v in m.weight.tolist())
    if factors:
        assert 1.4 < travel(recipe, images=10_000) / factors[9 * len(factors) // 10] < 1.6
    else:
        assert recipe.sparsity.l1_gamma == 0


@pytest.mark.parametrize(
    "model",
    [
        None,
        {"source": "torchvision", "name": "resnet18", "weights": "DEFAULT"},
        {"source": "python", "target": "tests_own_network:build"},
    ],
)
def test_every_line_says_what_it_is_for(folder, tmp_path, monkeypatch, model) -> None:
    (tmp_path / "tests_own_network.py").write_text(
        "from torchvision.models import mobilenet_v2\n"
        "def build(num_classes):\n    return mobilenet_v2(num_classes=num_classes, width_mult=0.25)\n"
    )
    monkeypatch.chdir(tmp_path)
    side = 64 if model else 9
    text = starter(data=folder(width=side, height=side, each=3), model=model)
    tree = read_tree(text.encode())
    lines = text.splitlines()
    assert all(len(line) <= 120 for line in lines)
    for path, number in tree.lines.items():
        here, above = lines[number - 1], lines[number - 2]
        assert path == () or "  # " in here or above.lstrip().startswith("# "), here
    assert not any(line.rstrip().endswith(("#", ".")) for line in lines)
