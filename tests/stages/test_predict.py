"""Predictions of single files, and of all files of a test set."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from namprune.checkpoint import to_bytes
from namprune.errors import DataError
from namprune.models import build_model
from namprune.recipe import Recipe, dump_recipe, load_recipe
from namprune.runs import RunFolder, RunStore
from namprune.stages import predict as stage
from namprune.stages.evaluate import evaluate
from namprune.stages.predict import predict
from namprune.stages.train import train

NAMES = ("zero", "one", "two", "three")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scans of four digits as a folder of pictures; the order of their names is not that of the digits."""
    root, digits = tmp_path_factory.mktemp("pictures"), load_digits()
    for digit, name in enumerate(NAMES):
        scans = digits.images[digits.target == digit][:60]
        for i, scan in enumerate(scans):
            folder = root / ("train" if i < 40 else "test") / name
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray((scan * (255 / 16)).round().astype(np.uint8)).save(folder / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A network that was trained on random parts of them, mixed."""
    data = [f"data.root={root}", "data.name=imagefolder", "data.image_size=8", "data.crop=resized"]
    data += ["data.crop_scale=0.6", "data.augment=none", "data.limit=null"]
    fit = ["train.epochs=3", "train.batch_size=16", "train.warmup=0", "train.mixup=0.2", "train.cutmix=0.5"]
    recipe = load_recipe("quickstart", overrides=[*data, *fit, "model.width=0.5", "runtime.device=cpu"])
    store = RunStore(tmp_path_factory.mktemp("runs"))
    return store.open(train(recipe, store=store, name="digits").name)


def own_recipe(run: RunFolder) -> Recipe:
    return load_recipe(str(run.recipe))


def test_first_classes_over_the_test_set_are_what_evaluate_counts(run, root, monkeypatch) -> None:
    monkeypatch.setattr(stage, "BATCH", 7)
    files = sorted((root / "test").rglob("*.png"))
    found = predict(run, own_recipe(run), files)
    assert [one.file for one in found] == [str(file) for file in files]
    accuracy = evaluate(run, own_recipe(run))
    hits = sum(one.top[0][0] == file.parent.name for one, file in zip(found, files, strict=True))
    assert (hits / len(files), len(files)) == (pytest.approx(accuracy.top1), accuracy.images)
    assert accuracy.top1 > 0.4  # not what a wrong order of the classes would give
    assert run.result().classes == tuple(sorted(NAMES))
    for one in found:
        names, shares = zip(*one.top, strict=True)
        assert sorted(names) == sorted(NAMES)  # fewer than the five that were asked for
        assert list(shares) == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1, abs=1e-5)


def test_probabilities_are_the_softmax_of_the_network(store, make_result, tmp_path) -> None:
    """Of a data set that is no folder of pictures, and grey."""
    recipe = load_recipe("quickstart", overrides=["model.width=0.25", "runtime.device=cpu"])
    model = build_model(recipe, classes=10, input_shape=(1, 8, 8))
    folder = store.create("r", recipe=dump_recipe(recipe))
    folder.write(folder.weights, to_bytes(model))
    folder.finish(make_result("r", classes=tuple("abcdefghij"), input_shape=(1, 8, 8)))
    scan = (load_digits().images[5] * (255 / 16)).round().astype(np.uint8)
    Image.fromarray(scan).save(tmp_path / "scan.png")
    (one,) = predict(folder, recipe, [tmp_path / "scan.png"], top=3)
    x = torch.from_numpy((scan / 255 - 0.3053) / 0.3759).float()[None, None]
    with torch.no_grad():
        shares = torch.softmax(model.eval()(x)[0], 0).tolist()
    best = sorted(range(10), key=lambda place: -shares[place])[:3]
    assert [name for name, _ in one.top] == ["abcdefghij"[place] for place in best]
    assert [share for _, share in one.top] == pytest.approx([shares[place] for place in best], abs=1e-5)


def test_every_file_that_cannot_be_read_is_named_at_once(run, root, tmp_path) -> None:
    good = next((root / "test").rglob("*.png"))
    (tmp_path / "words.png").write_text("no picture")
    files = [tmp_path / "words.png", *[good] * stage.BATCH, tmp_path / "none.png", tmp_path]
    with pytest.raises(DataError, match=r"^3 of 67 pictures cannot be used: ") as caught:
        predict(run, own_recipe(run), files)
    for words in ("words.png (not a picture", "none.png (No such file", f"{tmp_path} (no regular file)"):
        assert words in caught.value.message
