"""The public names: there, described, typed, loaded when they are used, and in the wheel with all that they need."""

import ast
import importlib
import inspect
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import namprune

ROOT = Path(namprune.__file__).parents[1]
NAMES = [name for name in namprune.__all__ if name != "__version__"]


def for_type_checkers() -> dict[str, str]:
    """Where each name comes from in the block that only type checkers read."""
    tree = ast.parse(Path(namprune.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    froms = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert [ast.unparse(node) for node in block.body if node not in froms] == ["__version__: str"]
    return {alias.asname or "": node.module or "" for node in froms for alias in node.names}


def test_the_three_lists_of_names_are_one() -> None:
    assert for_type_checkers() == namprune._HOMES  # noqa: SLF001 - the list that is looked up
    assert namprune.__all__ == ["__version__", *sorted(NAMES)]
    assert dir(namprune) == sorted(namprune.__all__)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_there_and_described(name: str) -> None:
    found = getattr(namprune, name)
    assert found.__name__ == name
    assert (inspect.getdoc(found) or "").split("\n")[0].rstrip().endswith((".", ":"))
    modules = inspect.getmodule(found), importlib.import_module(namprune._HOMES[name])  # noqa: SLF001
    assert all(module is not None and module.__name__.startswith("namprune.") for module in modules)


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'namprune' has no attribute 'prune_modle'"):
        getattr(namprune, "prune_modle")  # noqa: B009 - no type checker may see it


def test_importing_it_loads_nothing_but_itself() -> None:
    script = "import sys, namprune; print([name for name in sys.modules if name.startswith(('namprune.', 'torch'))])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.slow
def test_another_project_s_use_of_it_is_typed() -> None:
    file = "tests/typed_project.py"
    command = [sys.executable, "-m", "mypy", "--no-error-summary", file]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert [
        line for line in done.stdout.splitlines() if line.startswith(file)
    ] == []  # the package is checked by itself


@pytest.mark.slow
def test_the_wheel_has_every_file_of_the_package(tmp_path: Path) -> None:
    skipped = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("namprune", "recipes"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=skipped)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    script = "from setuptools import build_meta; print(build_meta.build_wheel('dist'))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    ours = {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "namprune").rglob("*") if path.is_file()}
    recipes = {f"namprune/recipes/{path.name}" for path in (tmp_path / "recipes").iterdir()}
    assert packed == ours | recipes
    assert {"namprune/py.typed", "namprune/recipes/quickstart.yaml"} <= packed
