"""The deployed example, in an environment that has neither torch nor namprune, beside what torch says."""

import os
import subprocess
import venv
from importlib.metadata import files as files_of
from importlib.metadata import requires, version
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image

import namprune
from namprune.checkpoint import to_bytes
from namprune.data.picture import MOMENTS
from namprune.export import describe
from namprune.export.onnx import onnx_bytes
from namprune.models import build_model
from namprune.recipe import dump_recipe, load_recipe
from namprune.stages.predict import predict

SCRIPT = Path(namprune.__file__).parents[1] / "scripts" / "deploy_onnx.py"
SIZES = [(90, 61), (50, 77), (32, 32), (33, 32), (19, 24)]

pytestmark = pytest.mark.slow


def needed(*names: str) -> set[str]:
    """Distributions and, without extras, what they need."""
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            wanted = map(Requirement, requires(name) or ())
            todo += [one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment with onnxruntime, numpy and Pillow alone."""
    home = tmp_path_factory.mktemp("deployed")
    venv.create(home, with_pip=False, symlinks=True)
    (site,) = home.glob("lib/python*/site-packages")
    for name in needed("onnxruntime", "numpy", "pillow"):
        for file in files_of(name) or ():
            link, source = site / file.parts[0], Path(str(file.locate())).parents[len(file.parts) - 1] / file.parts[0]
            if file.parts[0] not in ("..", "__pycache__") and not link.exists():
                link.symlink_to(source)
    return home / "bin" / "python"


def run(python: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [python, *map(str, arguments)]
    return subprocess.run(
        command, cwd=python.parent, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """JPEG and PNG files of noise, wide, tall, square and small, the last one grey."""
    generator = np.random.default_rng(0)
    files = []
    for width, height in SIZES:
        pixels = generator.integers(
            0, 256, (6, 5, 3), dtype=np.uint8
        )  # coarse, so that pictures differ from each other
        picture = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
        files.append(tmp_path / f"{width}x{height}.{'png' if width > height else 'jpg'}")
        picture.convert("L" if len(files) == len(SIZES) else "RGB").save(files[-1])
    return files


def test_the_environment_lacks_what_is_not_needed(python: Path) -> None:
    for module in ("torch", "namprune", "torchvision"):
        assert f"No module named '{module}'" in run(python, "-c", f"import {module}").stderr
    assert run(python, "-c", "import onnxruntime; print(onnxruntime.__version__)").stdout.strip() == version(
        "onnxruntime"
    )


@pytest.mark.parametrize(("data", "channels", "inside"), [("imagefolder", 3, False), ("digits", 1, True)])
def test_it_says_what_predict_says(python, pictures, store, make_result, tmp_path, data, channels, inside) -> None:
    overrides = [f"data.name={data}", "model.width=0.25", "runtime.device=cpu", "runtime.precision=fp32"]
    recipe = load_recipe("quickstart", overrides=overrides)
    shape, classes = (channels, 32, 32), tuple(f"class {number}" for number in range(10))
    model = build_model(recipe, classes=10, input_shape=shape)
    folder = store.create("r", recipe=dump_recipe(recipe))
    folder.write(folder.weights, to_bytes(model))
    result = folder.finish(make_result("r", classes=classes, input_shape=shape))
    moments = MOMENTS[recipe.data.name]
    metadata = describe(result, moments=moments, inside=inside, quantize="none", weights=folder.weights.name)
    file = tmp_path / "model.onnx"
    file.write_bytes(onnx_bytes(model, shape, metadata=metadata, moments=moments if inside else None))
    said = predict(folder, recipe, pictures, top=3)
    done = run(python, SCRIPT, file, *pictures)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for line, one in zip(lines, said, strict=True):
        path, _, top = line.partition(": ")
        assert path == one.file
        for shown, (name, share) in zip(top.split(", "), one.top, strict=True):
            assert shown.rpartition(" ")[0] == name
            assert float(shown.rpartition(" ")[2]) == pytest.approx(share, abs=1e-4)
    assert len({one.top[0] for one in said}) > 1  # pictures are told apart
