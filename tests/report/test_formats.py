"""The same rows in every format, readable by the readers of that format."""

import csv
import io
import json

import pytest

from namprune.report import Report, collect, to_csv, to_json, to_markdown, to_tables


@pytest.fixture
def report(store, save, make_result, make_pruned):
    """Two seeds of a dense network and its cut, one unfinished run, and hostile names."""
    for seed, (dense, pruned) in enumerate([(0.9142, 0.90), (0.9168, 0.91)]):
        parent = make_result(f"d{seed}", top1=dense, seed=seed, macs=40_600_000, data="=cmd|x", attention="<b>`n`\nam")
        save(parent)
        save(make_pruned(f"p{seed}", parent=parent, top1=pruned, macs=20_600_000, data="=cmd|x", attention="@a"))
    store.create("cut-short", recipe="")
    return Report.of(collect(store))


def test_the_table_writes_numbers_for_people(report) -> None:
    (table,) = to_tables(report)
    dense, pruned = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    assert dense["Top-1 %"] == "91.55 ± 0.18"
    assert (dense["Δ"], dense["MACs"], dense["Latency b64"]) == ("–", "40.6 M", "–")
    assert pruned["Cut"] == "0.5 nam global"
    assert pruned["Δ"] == "-1.05"
    assert pruned["MACs"] == "20.6 M (0.51x)"
    assert pruned["Latency b64"] == "5.00 ms (0.50x)"
    assert any("cut-short" in note for note in table.notes)
    assert any("multiply-accumulates" in note for note in table.notes)


def test_markdown_keeps_its_columns_whatever_the_names(report) -> None:
    lines = to_markdown(report).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 4
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert "<b>" not in "".join(lines)
    assert "=cmd\\|x" in table[2]
    assert any("cut-short" in line for line in lines)


def test_csv_is_read_back_and_runs_no_formula(report) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(report))))
    assert [row["State"] for row in rows] == ["finished", "finished", "unfinished"]
    assert {row["Data"] for row in rows} == {"'=cmd|x", ""}
    by_cut = {row["Cut"]: row for row in rows}
    assert by_cut["0.5 nam global"]["Attention"] == "'@a"
    assert by_cut["0.5 nam global"]["Runs"] == "p0 p1"
    assert by_cut["0.5 nam global"]["Δ"] == "-1.05"  # a number stays one
    assert by_cut[""]["Runs"] == "cut-short"


def test_json_has_raw_numbers(report) -> None:
    tree = json.loads(to_json(report))
    pruned = next(row for row in tree["rows"] if row["kind"] == "pruned")
    assert pruned["macs"] == 20_600_000
    assert pruned["top1"] == pytest.approx(0.905)
    assert pruned["delta"] == pytest.approx((-1.42 - 0.68) / 2)
    assert pruned["latency"][0]["ratio"] == pytest.approx(0.5)
    assert [run["name"] for run in tree["flawed"]] == ["cut-short"]
