"""The rules of the house, read from the source: floors, doors, sizes, and what nobody may call."""

import ast
import graphlib
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

import namprune
from namprune import choices
from namprune.attention import ATTENTIONS
from namprune.data import DATASETS
from namprune.models import MODELS
from namprune.pruning import IMPORTANCES
from namprune.recipe.attention import AttentionSection
from namprune.tracking import TRACKERS

ROOT = Path(namprune.__file__).parent
FLOORS = {
    room: floor
    for floor, rooms in enumerate(
        (
            ("errors", "choices", "nearest", "table", "json_text", "signals", "distributed", "cache"),
            ("recipe", "result", "batchnorm", "console"),
            ("runs", "device", "attention", "data", "optim", "modes", "figure", "tracking"),
            ("report", "measure", "cam", "models", "sparsity"),
            ("training", "pruning"),
            ("checkpoint", "export"),
            ("stages",),
            ("cli",),
            ("__main__", ""),  # the doors of the house
        )
    )
    for room in rooms
}
TORCH_FREE = ("cli", "recipe", "result", "runs", "report", "console", "table", "signals")
DOORS = {
    "torch_pruning": "namprune.pruning.trace",
    "thop": "namprune.measure.complexity",
    "captum": "namprune.cam.gradcam",
    "matplotlib": "namprune.figure",
    "ray": "namprune.stages.cluster",
    "timm": "namprune.models.sources",
    "onnx": "namprune.export",
    "onnxruntime": "namprune.export",
    "openvino": "namprune.export",
    "jinja2": "namprune.report.html",
    "plotly": "namprune.report.html",
    "mlflow": "namprune.tracking.mlflow",
    "tensorboard": "namprune.tracking.tensorboard",
    "yaml": "namprune.recipe",
    "rich": "namprune.console",
    "typer": "namprune.cli",
}
FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
FORBIDDEN_CALLS = {"eval", "exec", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}


def module_name(path: Path) -> str:
    parts = ("namprune", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(part for part in parts if part != "__init__")


SOURCES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}


def imports(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Dotted name of everything imported, wherever, and whether it is imported inside a function."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((name, id(node) in inside) for name in names)


def target(name: str) -> str | None:
    """The module of ours that `name` is or lies in."""
    return next((module for module in (name, name.rpartition(".")[0]) if module in TREES), None)


def room(module: str) -> str:
    return f"{module}..".split(".")[1]


def dotted(node: ast.expr) -> str:
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def dangers(source: str | ast.Module) -> list[str]:
    """What the source does that runs foreign code or unpacks foreign files."""
    tree = ast.parse(source) if isinstance(source, str) else source
    found = [name for name, _ in imports(tree) if name.split(".")[0] in FORBIDDEN_MODULES]
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = dotted(call.func)
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if (
            name in FORBIDDEN_CALLS
            or (isinstance(call.func, ast.Attribute) and call.func.attr == "extractall")
            or (name == "torch.load" and keywords.get("weights_only") != "True")
            or keywords.get("shell", "False") != "False"
            or keywords.get("allow_pickle", "False") != "False"
        ):
            found.append(ast.unparse(call))
    return found


def test_every_room_has_a_floor() -> None:
    assert {room(module) for module in TREES} - FLOORS.keys() == set()


@pytest.mark.parametrize("module", TREES)
def test_imports_go_down(module) -> None:
    here = room(module)
    targets = {name: room(ours) for name, _ in imports(TREES[module]) if (ours := target(name))}
    wrong = [name for name, there in targets.items() if there != here and FLOORS[there] >= FLOORS[here]]
    assert wrong == []


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = {
        module: {ours for name, _ in imports(tree) if (ours := target(name)) and ours != module}
        for module, tree in TREES.items()
    }
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError with the cycle
    assert {*order} >= {*TREES}


@pytest.mark.parametrize("module", [module for module in TREES if room(module) == "cli"])
def test_commands_import_stages_only_when_they_run(module) -> None:
    at_once = [ours for name, inside in imports(TREES[module]) if not inside and (ours := target(name))]
    assert [ours for ours in at_once if room(ours) == "stages"] == []


def test_torch_free_rooms_load_no_torch() -> None:
    script = (
        "import importlib, sys\n"
        f"for room in {TORCH_FREE!r}:\n"
        "    importlib.import_module(f'namprune.{room}')\n"
        "    assert 'torch' not in sys.modules, room\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("names", "registry"),
    [
        (choices.ModelName, MODELS),
        (choices.CriterionName, IMPORTANCES),
        (choices.DataName, DATASETS),
        (choices.AttentionName, {"none", *ATTENTIONS}),
        (choices.TrackerName, TRACKERS),
    ],
    ids=["models", "importances", "datasets", "attentions", "trackers"],
)
def test_choices_are_the_registry(names, registry) -> None:
    assert set(typing.get_args(names)) == set(registry)


def test_recipes_have_a_section_per_attention() -> None:
    sections = typing.get_args(AttentionSection)
    named = {name for section in sections for name in typing.get_args(section.model_fields["name"].annotation)}
    assert named == set(typing.get_args(choices.AttentionName))


@pytest.mark.parametrize(("library", "door"), DOORS.items())
def test_a_library_comes_in_by_one_door(library, door) -> None:
    users = {module for module, tree in TREES.items() for name, _ in imports(tree) if name.split(".")[0] == library}
    assert users
    assert [user for user in users if not f"{user}.".startswith(f"{door}.")] == []


@pytest.mark.parametrize("module", TREES)
def test_imports_are_absolute_and_sizes_small(module) -> None:
    nodes = list(ast.walk(TREES[module]))
    assert [node.lineno for node in nodes if isinstance(node, ast.ImportFrom) and node.level] == []
    assert len(SOURCES[module].read_text(encoding="utf-8").splitlines()) <= 300
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [f.name for f in functions if f.end_lineno - f.lineno >= 60] == []


@pytest.mark.parametrize("module", TREES)
def test_nothing_foreign_is_run_or_unpacked(module) -> None:
    assert dangers(TREES[module]) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "def f():\n    from pickle import loads",
        "eval('1')",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "yaml.load(text, Loader=yaml.SafeLoader)",
        "tarfile.open(path).extractall(folder)",
        "subprocess.run(line, shell=True)",
        "np.load(path, allow_pickle=True)",
    ],
)
def test_the_check_itself_sees_danger(source) -> None:
    assert len(dangers(source)) == 1


def test_the_check_itself_lets_the_harmless_pass() -> None:
    assert dangers("model.eval()\ntorch.load(file, weights_only=True)\nyaml.safe_load(text)") == []
