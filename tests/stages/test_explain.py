import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from namprune.cam import grad_cam
from namprune.errors import DataError, UserError
from namprune.recipe import load_recipe
from namprune.result import to_json
from namprune.runs import RunStore
from namprune.stages.explain import explain
from namprune.stages.network import open_network
from namprune.stages.prune import prune


def own_recipe(run, *overrides):
    return load_recipe(str(run.recipe), overrides=overrides)


@pytest.fixture(scope="module")
def finished(trained, tmp_path_factory) -> RunStore:
    """A trained run and one that was cut from it."""
    store = RunStore(tmp_path_factory.mktemp("explained"))
    shutil.copytree(trained[1].path, store.root / "dense")
    run = store.open("dense")
    recipe = own_recipe(run, "prune.ratio=0.4", "prune.recalibrate=0", "finetune.epochs=0")
    prune(run, recipe, store=store, name="small")
    return store


@pytest.fixture
def store(finished, tmp_path) -> RunStore:
    """A copy to break."""
    shutil.copytree(finished.root, tmp_path / "runs")
    return RunStore(tmp_path / "runs")


@pytest.fixture
def scans(tmp_path) -> list[Path]:
    """Three digits as files."""
    pixels = (load_digits().images[:3] * (255 / 16)).round().astype(np.uint8)
    files = [tmp_path / f"{name}.png" for name in ("zero", "one", "two")]
    for file, picture in zip(files, pixels, strict=True):
        Image.fromarray(picture).save(file)
    return files


def explained(store, name, images, **options):
    run = store.open(name)
    return explain(run, own_recipe(run), images, store=store, **options)


def test_both_networks_are_asked_for_the_dense_ones_class(finished, scans, tmp_path) -> None:
    found = explained(finished, "small", scans, out=tmp_path / "new" / "folder")
    assert [one.image for one in found] == [str(scan) for scan in scans]
    assert [Path(one.file).name for one in found] == ["zero-small.png", "one-small.png", "two-small.png"]
    (dense, _), (small, _) = (open_network(run, own_recipe(run)) for run in map(finished.open, ("dense", "small")))
    for one, scan in zip(found, scans, strict=True):
        x = torch.from_numpy((np.asarray(Image.open(scan)) / 255 - 0.3053) / 0.3759).float()[None, None]
        with torch.no_grad():
            shares = [model.eval()(x)[0].softmax(0) for model in (dense, small)]
        target = int(shares[0].argmax())
        assert one.target == str(target)
        for prediction, share, name in zip((one.dense, one.pruned), shares, ("dense", "small"), strict=True):
            assert (prediction.run, prediction.predicted) == (name, str(int(share.argmax())))
            assert prediction.probability == pytest.approx(float(share.max()), abs=1e-5)
            assert prediction.target_probability == pytest.approx(float(share[target]), abs=1e-5)
        maps = [grad_cam(model, x, target=target).flatten().numpy() for model in (dense, small)]
        flat = min(one_map.std() for one_map in maps) < 1e-6
        assert one.correlation == (None if flat else pytest.approx(np.corrcoef(*maps)[0, 1], abs=1e-4))
        with Image.open(one.file) as png:
            assert png.format == "PNG"
            assert png.width > 2.5 * png.height / 1.3
    assert any(one.correlation is not None for one in found)


def test_a_class_can_be_named(finished, scans, tmp_path) -> None:
    (one,) = explained(finished, "small", scans[:1], out=tmp_path, target="7")
    assert one.target == "7"
    assert one.dense.target_probability < one.dense.probability
    assert one.dense.words("7") == (
        f"{one.dense.predicted} {100 * one.dense.probability:.2f} % (7 {100 * one.dense.target_probability:.2f} %)"
    )


def test_a_dense_run_is_explained_alone(finished, scans, tmp_path) -> None:
    (one,) = explained(finished, "dense", scans[:1], out=tmp_path)
    assert (one.dense.run, one.pruned, one.correlation) == ("dense", None, None)
    assert one.target == one.dense.predicted


def gone(store) -> None:
    shutil.rmtree(store.root / "dense")


def made_anew(store) -> None:
    """Another run with the ancestor's name."""
    run = store.open("dense")
    with run.weights.open("ab") as file:
        file.write(b" ")
    small = store.open("small").result()
    shutil.copyfile(store.open("small").weights, run.weights)
    files = {**run.result().files, run.weights.name: small.files[run.weights.name]}
    run.result_file.write_text(to_json(dataclasses.replace(run.result(), files=files)))


def tampered(store) -> None:
    with store.open("dense").weights.open("ab") as file:
        file.write(b" ")


@pytest.mark.parametrize(
    ("change", "said"), [(gone, "no run 'dense'"), (made_anew, "made anew"), (tampered, "SHA-256 differs")]
)
def test_without_the_ancestor_the_pruned_network_is_explained_alone(store, scans, capsys, change, said) -> None:
    change(store)
    (one,) = explained(store, "small", scans[:1], out=store.root.parent)
    assert (one.dense, one.pruned.run, one.correlation) == (None, "small", None)
    assert one.target == one.pruned.predicted
    warning = capsys.readouterr().err
    assert said in warning
    assert "small is drawn alone" in warning
    assert warning.count("\n") == 1


def test_no_picture_is_written_twice_and_none_is_lost(finished, scans, tmp_path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    same = Path(shutil.copy(scans[1], folder / "zero.png"))
    mine = Path(shutil.copy(scans[2], folder / "two-dense.png"))
    before = mine.read_bytes()
    found = explained(finished, "dense", [scans[0], same, scans[2], mine], out=folder)
    names = [Path(one.file).name for one in found]
    assert names == ["zero-dense.png", "zero-2-dense.png", "two-2-dense.png", "two-dense-dense.png"]
    assert mine.read_bytes() == before


def test_a_fault_leaves_nothing_behind(finished, scans, tmp_path) -> None:
    words, out = tmp_path / "words.png", tmp_path / "out"
    words.write_text("not a picture")
    with pytest.raises(DataError, match=r"words\.png"):
        explained(finished, "small", [scans[0], words], out=out)
    with pytest.raises(UserError, match="no class 'ten'"):
        explained(finished, "small", scans, out=out, target="ten")
    assert not out.exists()
    with pytest.raises(UserError, match=r"words\.png/out: Not a directory"):
        explained(finished, "small", scans, out=words / "out")
