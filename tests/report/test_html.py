"""The page as text: what a parser finds in it, against the report that it was made of."""

import base64
import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from namprune.report import Report, to_tables
from namprune.report.html import to_html

VOID = {"meta", "link", "input", "img", "br"}


class Reader(HTMLParser):
    """Elements by tag, the text of each kind, and whether all that was opened was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.cells: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        self.scripts += [""] * (tag == "script")
        self.cells += [""] * (tag == "td")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
            return
        if "td" in self.open:
            self.cells[-1] += data
        self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def page(reported) -> str:
    return to_html(reported.report, reported.planes, reported.details)


@pytest.fixture(scope="module")
def reader(page) -> Reader:
    return read(page)


def test_the_policy_allows_the_scripts_of_the_page_and_nothing_else(reader) -> None:
    policy = next(a["content"] for tag, a in reader.tags if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    early, data, plotly, own = reader.scripts
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (early, plotly, own)]
    assert sorted(rules.pop("script-src").split()) == sorted(f"'sha256-{digest}'" for digest in hashes)
    assert rules == {
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert json.loads(data).keys() == {"figures", "tables"}
    assert "Plotly, Inc." in plotly


def test_the_page_refers_to_nothing_outside(reader) -> None:
    links = [value for _, a in reader.tags for name, value in a.items() if name in ("href", "src", "action", "data")]
    assert all(link.startswith(("#", "data:")) for link in links)
    assert [tag for tag, _ in reader.tags if tag in ("img", "iframe", "object", "embed", "base", "b")] == []


def test_names_stay_text(page, reader, reported) -> None:
    assert len(reader.scripts) == 4
    for row in reported.report.rows:
        assert row.attention in reader.cells
        assert row.data in reader.text  # with its braces: no template of a template
    data = reader.scripts[1]
    assert not set("<>&") & set(data)
    assert not any(chr(code) in data for code in (0x2028, 0x2029))


def test_the_table_has_the_cells_of_the_terminal(reader, reported) -> None:
    table = to_tables(reported.report)[0]
    first_two = {cells[:2] for cells in table.rows}  # the same in all rows, said once
    assert len(first_two) == 1
    expected = [cell for row in table.rows for cell in row[2:]]
    assert reader.cells[: len(expected)] == expected


def test_numbers_are_sorted_by_what_they_are(page, reported) -> None:
    keys = [float(key) for key in re.findall(r'data-sort="([^"]+)"', page)]
    for row in reported.report.rows:
        assert {row.top1, row.macs, row.params} <= set(keys)


def test_the_same_runs_give_the_same_page(page, reported) -> None:
    assert to_html(reported.report, reported.planes, reported.details) == page


def test_figures_and_tables_of_the_data_are_those_of_the_page(reader) -> None:
    data = json.loads(reader.scripts[1])
    assert {a["data-figure"] for _, a in reader.tags if "data-figure" in a} == data["figures"].keys()
    assert {a["data-table"] for _, a in reader.tags if "data-table" in a} == data["tables"].keys()


def test_a_number_that_is_none_breaks_nothing(reported) -> None:
    broken = dataclasses.replace(reported.report.rows[0], top1=float("nan"), top1_spread=float("inf"))
    report = dataclasses.replace(reported.report, rows=(broken, *reported.report.rows[1:]))
    reader = read(to_html(report, reported.planes, reported.details))
    assert "nan ± inf" in reader.cells
    json.loads(reader.scripts[1], parse_constant=pytest.fail)


def test_a_report_of_nothing_but_flaws_is_a_page(reported) -> None:
    reader = read(to_html(Report(rows=(), files=(), flawed=reported.report.flawed), (), ()))
    assert "is unfinished" in reader.text
    assert reader.cells == []
