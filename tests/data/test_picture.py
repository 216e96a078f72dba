from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from namprune.data import DATASETS, build_data
from namprune.data.picture import MOMENTS, check_pictures, normalizer, read_pictures
from namprune.errors import DataError
from namprune.recipe.data import DataSection

CPU = torch.device("cpu")


def save(folder: Path, pictures: list[np.ndarray]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{i:03}.png" for i in range(len(pictures))]
    for file, picture in zip(files, pictures, strict=True):
        Image.fromarray(picture).save(file)
    return files


def test_every_data_set_has_its_moments() -> None:
    assert MOMENTS.keys() == DATASETS.keys()


def test_a_scan_in_a_file_reads_as_in_the_data_set(tmp_path) -> None:
    scans = (load_digits().images[:50] * (255 / 16)).round().astype(np.uint8)
    pixels = read_pictures(save(tmp_path, list(scans)), input_shape=(1, 8, 8))
    assert torch.equal(pixels, torch.from_numpy(scans)[..., None])
    data = build_data(DataSection(name="digits"), device=CPU)
    splits = (data.train, data.val, data.test)
    known = {picture.numpy().tobytes() for split in splits for x, _ in split.ordered(batch_size=500) for picture in x}
    x = normalizer("digits", device=CPU)(pixels)
    assert {picture.numpy().tobytes() for picture in x} <= known


def test_pictures_of_any_size_read_as_in_a_folder_of_pictures(tmp_path) -> None:
    draw = np.random.default_rng(0)
    sizes = ((40, 24), (24, 40), (17, 17), (64, 33), (12, 12), (20, 16))
    listed = []
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            pictures = [draw.integers(256, size=(*size, 3), dtype=np.uint8) for size in sizes]
            listed += save(tmp_path / split / name, pictures) if split == "test" else []
            save(tmp_path / split / name, pictures)
    data = build_data(DataSection(name="imagefolder", root=str(tmp_path), image_size=16), device=CPU)
    ours = normalizer("imagefolder", device=CPU)(read_pictures(listed, input_shape=data.input_shape))
    assert torch.equal(ours, next(data.test.ordered(batch_size=50))[0])


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("cifar10", (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        ("cifar100", (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    ],
)
def test_a_picture_of_the_right_size_is_only_normalized(tmp_path, name, mean, std) -> None:
    picture = np.random.default_rng(0).integers(256, size=(32, 32, 3), dtype=np.uint8)
    x = normalizer(name, device=CPU)(read_pictures(save(tmp_path, [picture]), input_shape=(3, 32, 32)))
    expected = ((picture / 255 - mean) / std).transpose(2, 0, 1)
    np.testing.assert_allclose(x[0].numpy(), expected, atol=1e-5)


def test_a_file_that_is_no_picture_is_named(tmp_path) -> None:
    (tmp_path / "words.png").write_text("not a picture")
    with pytest.raises(DataError, match=r"words\.png \(not a picture") as caught:
        read_pictures([tmp_path / "words.png", tmp_path / "none.png"], input_shape=(1, 8, 8))
    assert "none.png (No such file" in caught.value.message


def test_a_fault_is_one_line_whatever_the_name_is(tmp_path) -> None:
    file = tmp_path / "no\npicture\r.png"
    file.write_bytes(b"")
    with pytest.raises(DataError) as caught:
        check_pictures([file], input_shape=(3, 8, 8))
    assert f"{tmp_path / 'no picture .png'} (" in caught.value.message
