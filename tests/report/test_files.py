"""Dense, pruned and int8 files side by side."""

import dataclasses
import json

import pytest

from namprune.report import Report, collect, to_csv, to_json, to_markdown, to_tables
from namprune.result import Accuracy, Export
from namprune.result import to_json as as_json


@pytest.fixture
def export(save, make_result, make_pruned):
    """Saves a dense run and its cut of half the bytes, and exports of any run by name; keeps what was saved."""
    dense = make_result("d", top1=0.92, params=1000)
    save(make_result("apart", top1=0.5))
    folders = {
        "d": save(dense),
        "p": save(make_pruned("p", parent=dense, top1=0.91, params=500)),
    }
    for name, size in (("d", 4000), ("p", 2000)):
        folders[name].weights.write_bytes(bytes(size))

    def make(run, file, *, top1=None, **changes):
        folder = folders[run]
        record = Export(
            file=file,
            format="onnx",
            quantize="none" if top1 is None else "int8",
            bytes=600,
            sha256="",
            difference=2e-6 if top1 is None else None,
            val=None,
            test=None if top1 is None else Accuracy(top1=top1, top5=1.0, loss=0.1, images=100),
            weights=folder.result().files["model.safetensors"],
            created="",
            versions={},
        )
        folder.exports_folder.mkdir(exist_ok=True)
        (folder.exports_folder / file).write_bytes(b"")
        text = as_json(dataclasses.replace(record, **changes))
        (folder.exports_folder / f"{file}.json").write_text(text, encoding="utf-8")

    return make


@pytest.fixture
def report(store):
    return lambda *names: Report.of(collect(store, names=names))


def test_what_was_cut_and_exported_stands_below_the_dense_weights(export, report) -> None:
    export("p", "model.onnx", bytes=2200)
    export("p", "model-int8.onnx", top1=0.905)
    files = report().files
    assert [(file.run, file.file) for file in files] == [
        ("d", "model.safetensors"),
        ("p", "model.safetensors"),
        ("p", "export/model.onnx"),
        ("p", "export/model-int8.onnx"),
    ]
    assert [file.bytes for file in files] == [4000, 2000, 2200, 600]
    assert [file.ratio for file in files] == [None, 0.5, 0.55, 0.15]  # of the 4000 bytes of the dense network
    assert [file.top1 for file in files] == [0.92, 0.91, None, 0.905]
    assert [file.delta_run for file in files] == [None, None, None, pytest.approx(-0.5)]
    assert [file.delta_dense for file in files] == [None, pytest.approx(-1.0), None, pytest.approx(-1.5)]
    _, table = to_tables(report())
    assert table.rows[3] == (
        *("p", "export/model-int8.onnx", "onnx", "int8"),
        *("600 B (0.15x)", "–", "90.50", "-0.50", "-1.50"),
    )


def test_a_dense_run_is_compared_with_itself_alone(export, report) -> None:
    export("d", "model-int8.onnx", top1=0.90)
    _, int8 = report("d").files
    assert (int8.ratio, int8.delta_run, int8.delta_dense) == (0.15, pytest.approx(-2.0), None)


def test_an_export_of_a_run_that_had_the_name_before_is_left_out(export, report) -> None:
    export("p", "model.onnx", weights="of another")
    assert report().files == ()
    assert len(to_tables(report())) == 1


def test_a_dense_run_that_was_made_anew_is_no_measure(export, report, save, store, make_result) -> None:
    export("p", "model-int8.onnx", top1=0.9)
    dense = store.open("d")
    text = dense.result_file.read_text()
    dense.result_file.write_text(text.replace(dense.result().files["model.safetensors"], "0" * 64))
    assert [(file.run, file.ratio, file.delta_dense) for file in report().files] == [("p", None, None)] * 2


def test_formats_carry_the_files_but_csv(export, report) -> None:
    export("p", "model-int8.onnx", top1=0.905)
    said = report()
    assert [file["file"] for file in json.loads(to_json(said))["exports"]].count("export/model-int8.onnx") == 1
    (line,) = (line for line in to_markdown(said).splitlines() if "model-int8.onnx" in line)
    assert line.startswith("| p | export/model-int8.onnx | onnx | int8 | 600 B (0.15x) |")
    assert "model-int8.onnx" not in to_csv(said)
