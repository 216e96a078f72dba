"""Figures for papers: what stands in the SVG, which files there are, and that the same report draws the same bytes."""

import dataclasses
import io
import itertools
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from namprune.choices import AttentionName
from namprune.figure import DASHES
from namprune.figure import MARKERS as DRAWN
from namprune.report import collect, details, planes, summarise
from namprune.report.details import LayerWidth
from namprune.report.figures import figures, slug
from namprune.report.palette import COLOURS, MARKERS, OTHER, SCRATCH, colour, marker

HOSTILE = '_<b> & "$x_1$" ../../etc \x1b[31m\nγ'


@pytest.fixture
def report(store, save, make_result, make_pruned):
    """A dense network and its cut with three seeds, of a hostile name, and another attention with one point."""
    for seed, top1 in enumerate((0.90, 0.91, 0.92)):
        dense = make_result(f"d{seed}", seed=seed, top1=top1, attention=HOSTILE, data=HOSTILE)
        save(dense)
        changes = {"attention": HOSTILE, "data": HOSTILE, "macs": 20_000_000, "top1": top1 - 0.02}
        save(make_pruned(f"p{seed}", parent=dense, **changes))
    save(make_result("se", attention="se", data=HOSTILE))
    return lambda: planes(summarise(collect(store)))


def texts(svg: bytes) -> list[str]:
    return ["".join(node.itertext()).strip() for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314 - written by the test


def test_a_plot_is_a_picture_and_a_drawing_with_its_names_as_text(report) -> None:
    drawn = dict(figures(report()))
    stem = "resnet20-on-b-x-1-etc-31m-macs"
    assert list(drawn) == [f"{stem}.png", f"{stem}.svg"]
    with Image.open(io.BytesIO(drawn[f"{stem}.png"]), formats=("PNG",)) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[1] == pytest.approx(3.5 * 300, abs=2)  # a column of a paper
    assert (pixels == tuple(bytes.fromhex(OTHER[1:]))).all(-1).any()
    assert (pixels == tuple(bytes.fromhex(COLOURS["se"][1:]))).all(-1).any()
    said = texts(drawn[f"{stem}.svg"])
    assert {"se", "Pareto front", "test top-1, %", "multiply-accumulates of one picture"} <= set(said)
    assert '_<b> & "$x_1$" ../../etc \\x1b[31m γ' in " ".join(said)  # no formula, no control character
    assert "date>" not in drawn[f"{stem}.svg"].decode()


def test_a_latency_plot_is_named_by_its_batch(report) -> None:
    (plane,) = report()
    timed = dataclasses.replace(plane, cost="latency", batch=64)
    noisy = dataclasses.replace(timed.lines[1], points=(dataclasses.replace(timed.lines[1].points[0], noisy=True),))
    drawn = dict(figures([dataclasses.replace(timed, lines=(timed.lines[0], noisy))]))
    (name,) = (name for name in drawn if name.endswith("svg"))
    assert name.endswith("-latency-b64.svg")
    assert {"forward pass, batch 64", "(hollow: inter-quartile range above 10 %)"} <= set(texts(drawn[name]))


def test_a_plot_that_is_drawn_twice_is_two_files_of_the_same_bytes(report) -> None:
    (plane,) = report()
    drawn = dict(figures([plane, plane]))
    first, second = (dict(list(drawn.items())[i : i + 2]) for i in (0, 2))
    assert not set(first) & set(second)
    assert list(first.values()) == list(second.values())


def test_widths_are_drawn_of_the_runs_that_were_cut(report, store) -> None:
    dense, pruned, *_ = (one for one in details(store, collect(store)) if one.result.name in ("d0", "p0"))
    widths = (LayerWidth(layer="stem", before=16, after=4), LayerWidth(layer="$_a", before=8, after=8))
    drawn = dict(figures([], [dense, dataclasses.replace(pruned, widths=widths)]))
    assert list(drawn) == ["widths-p0.png", "widths-p0.svg"]
    assert {"stem", "$_a", "before", "after", "p0"} <= set(texts(drawn["widths-p0.svg"]))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("../../etc/passwd", "etc-passwd"),
        ("ResNet-20 (JPEG)", "resnet-20-jpeg"),
        ("é", "e"),
        ("中", "unnamed"),
        ("a" * 99, "a" * 60),
    ],
)
def test_a_files_name_leads_nowhere(text, name) -> None:
    assert slug(text) == name


def test_every_attention_has_a_colour_and_a_marker_of_its_own() -> None:
    names = set(AttentionName.__args__)
    assert names == set(COLOURS) == set(MARKERS)
    assert len({*map(colour, names)}) == len({*map(marker, names)}) == len(names)
    assert {*MARKERS.values(), marker("theirs"), SCRATCH} == set(DRAWN)
    assert all(a != b for a, b in itertools.combinations(DASHES, 2))


def test_without_matplotlib_the_remedy_is_named(report, store) -> None:
    script = (
        "import sys\nsys.modules['matplotlib'] = None\n"
        "from namprune.cli import main\n"
        f"sys.argv = ['namprune', 'report', '--figures', 'f', '--runs', {str(store.root)!r}]\nmain()"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=store.root, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "matplotlib" in done.stderr
    assert "pip install 'namprune[figures]'" in done.stderr
    assert not (store.root / "f").exists()
