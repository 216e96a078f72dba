"""What namprune finds on this machine: software, devices, pictures, the place for runs. Asks no network.

Torch is loaded late and under guard, so that an installation which lacks it can say so.
"""

import os
import platform
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path

from namprune.errors import RunError
from namprune.result.checkup import Finding
from namprune.runs import RunStore
from namprune.table import quantity

EXTRAS = {
    "figures": ("figures for papers, and the heat map of `namprune sensitivity`", ("matplotlib",)),
    "explain": ("`namprune explain`", ("captum", "matplotlib")),
    "timm": ("the networks of timm", ("timm",)),
    "onnx": ("export to ONNX, 8 bits, `bench --backend onnxruntime`", ("onnx", "onnxscript", "onnxruntime")),
    "openvino": ("export to OpenVINO", ("openvino",)),
    "mlflow": ("`train --track mlflow`", ("mlflow",)),
    "ray": ("`compare --backend ray`", ("ray",)),
}
"""What each extra gives, and the packages that it takes."""

SHOWN = ("torch", "torchvision", "torch-pruning")
"""Packages whose versions are told; of the others only that they are there."""

LITTLE = 2e9
"""Bytes on disk below which runs may not fit for long."""


def doctor(*, runs: Path, data: str | None) -> tuple[Finding, ...]:
    """Look at everything once; `data` is a folder of pictures that is looked at, too."""
    return (*_software(), *_computing(data), *_place(runs), *_terminal())


def _software() -> Iterator[Finding]:
    package = f"{metadata.version('namprune')}, Python {platform.python_version()}, {platform.system()}"
    yield Finding(area="software", name="namprune", state="ok", found=package)
    versions = {name: _version(name) for name in (*SHOWN, *_required())}
    absent = [name for name, version in versions.items() if version is None]
    told = ", ".join(f"{name} {versions[name]}" for name in SHOWN)
    found = f"{told} and {len(versions) - len(SHOWN)} more" if not absent else f"not installed: {', '.join(absent)}"
    remedy = "pip install namprune" if absent else None
    yield Finding(area="software", name="packages", state="broken" if absent else "ok", found=found, remedy=remedy)
    for extra, (gives, modules) in EXTRAS.items():
        lacking = [module for module in modules if util.find_spec(module) is None]
        present = ", ".join(f"{module} {_version(module) or ''}".strip() for module in modules)
        yield Finding(
            area="extra",
            name=extra,
            state="missing" if lacking else "ok",
            found=f"not installed, for {gives}" if lacking else f"{present}: {gives}",
            remedy=f"pip install 'namprune[{extra}]'" if lacking else None,
        )


def _required() -> list[str]:
    """Packages that namprune asks for without an extra, by its own metadata."""
    lines = (line for line in metadata.requires("namprune") or () if "extra ==" not in line)
    return [match[0] for line in lines if (match := re.match(r"[A-Za-z0-9._-]+", line))]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _computing(data: str | None) -> Iterator[Finding]:
    """What takes torch."""
    try:
        from namprune.stages.machine import machine, pictures
    except (ImportError, OSError) as error:  # a package that is missing, or a library that does not load
        found = f"does not load: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        yield Finding(area="device", name="torch", state="broken", found=found, remedy="pip install --upgrade namprune")
        return
    yield from machine()
    yield from pictures(data)


def _place(runs: Path) -> Iterator[Finding]:
    there = next((folder for folder in (runs, *runs.absolute().parents) if os.access(folder, os.F_OK)), Path("/"))
    writable = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    yield Finding(
        area="runs",
        name=str(runs),
        state="ok" if writable else "broken",
        found=_states(runs) if writable else f"nothing can be written to {there}",
        remedy=None if writable else "choose another folder with --runs",
    )
    free = shutil.disk_usage(there).free
    yield Finding(
        area="runs",
        name="disk",
        state="ok" if free > LITTLE else "note",
        found=f"{quantity(free, 'B')} free",
        remedy=None if free > LITTLE else "make room, or choose another folder with --runs",
    )


def _states(runs: Path) -> str:
    try:
        states = Counter(folder.state() for folder in RunStore(runs).folders())
    except RunError as error:
        return error.message
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    return f"writable; {counts}" if counts else "writable; no runs yet"


def _terminal() -> Iterator[Finding]:
    encoding = sys.stdout.encoding or "ascii"
    whole = encoding.lower().replace("-", "") == "utf8"
    kind = (
        f"{shutil.get_terminal_size().columns} columns" if sys.stdout.isatty() else "no terminal: plain lines, no bars"
    )
    yield Finding(
        area="terminal",
        name="stdout",
        state="ok" if whole else "note",
        found=f"{kind}, {encoding}" + (", NO_COLOR is set" if os.environ.get("NO_COLOR") else ""),
        remedy=None if whole else "export PYTHONUTF8=1 for ± and µ",
    )
