"""The page in a real browser: what is drawn, what its controls do, and what it refuses."""

import dataclasses
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from namprune.report.html import to_html

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]

CONTRAST = """() => {
  // text colour over the first background below it that is not see-through
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (text) => {
    const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = parse(text).slice(0, 3).map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const below = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const { backgroundColor } = getComputedStyle(at);
      const [, , , alpha = 1] = parse(backgroundColor);
      if (alpha === 1) return backgroundColor;
    }
    return getComputedStyle(document.body).backgroundColor;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const low = [];
  for (let node; (node = walker.nextNode());) {
    const element = node.parentElement;
    if (!node.data.trim() || !element.checkVisibility({ visibilityProperty: true })) continue;
    if (["SCRIPT", "NOSCRIPT", "OPTION"].includes(element.tagName)) continue;
    const text = element.closest("svg") ? getComputedStyle(element).fill : getComputedStyle(element).color;
    const [a, b] = [light(text), light(below(element))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) low.push(`${node.data.trim().slice(0, 30)}: ${text} on ${below(element)}`);
  }
  return low;
}"""


@dataclasses.dataclass(frozen=True)
class Watched:
    """A page that is open, all that it complained of and all that it asked for."""

    page: Any
    complaints: list[str]
    requests: list[str]


@pytest.fixture(scope="module")
def file(tmp_path_factory, reported) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(to_html(reported.report, reported.planes, reported.details), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    rootless = ["--no-sandbox"] if os.geteuid() == 0 else []
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=rootless)
        yield chromium
        chromium.close()


@contextmanager
def opened(browser: Any, file: Path, **options: Any) -> Iterator[Watched]:
    """The page with its first plot drawn; whatever is done with it, it complains of nothing and asks for nothing."""
    page = browser.new_page(**({"viewport": {"width": 1280, "height": 900}} | options))
    page.set_default_timeout(15_000)
    watched = Watched(page, [], [])
    page.on("console", lambda message: watched.complaints.append(message.text))
    page.on("pageerror", lambda error: watched.complaints.append(str(error)))
    page.on("dialog", lambda dialog: (watched.complaints.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: watched.requests.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_selector(".trade-off:not([hidden]) .main-svg .trace")
    yield watched
    assert watched.complaints == []
    assert watched.requests == [file.as_uri()]
    page.close()


@pytest.fixture(scope="module")
def shared(browser, file) -> Iterator[Any]:
    """One page for the tests that leave it as it was."""
    with opened(browser, file) as watched:
        yield watched.page


def column(page: Any, name: str) -> list[str]:
    """The cells of a column of the experiments that are shown, from above."""
    place = page.locator("#grid th").all_inner_texts().index(name)
    rows = page.locator("#grid tbody tr:visible")
    return [cells.split("\t")[place].strip() for cells in rows.all_inner_texts()]


def head(page: Any, name: str) -> Any:
    return page.locator("#grid th").filter(has=page.get_by_role("button", name=name, exact=True))


def test_every_line_is_drawn_with_its_points(shared, reported) -> None:
    plane = reported.planes[0]
    shown = shared.locator(".trade-off:not([hidden])")
    for index, line in enumerate(plane.lines):
        assert shown.locator(f".traceline{index} path.js-line").count() == 1
        assert shown.locator(f".traceline{index} path.point").count() == len(line.points)
    assert shown.locator(".key").all_inner_texts() == [line.name for line in plane.lines]
    assert shown.locator(".key .swatch path").count() == 2 * len(plane.lines)


def test_a_line_is_hidden_and_shown_by_its_key(shared) -> None:
    shown = shared.locator(".trade-off:not([hidden])")
    key, line = shown.locator(".key").first, shown.locator(".traceline0 path.js-line")
    key.click()
    playwright.expect(line).to_have_count(0)
    assert key.get_attribute("aria-pressed") == "false"
    key.press("Enter")
    playwright.expect(line).to_have_count(1)


def test_the_cost_can_be_chosen_by_keyboard(shared) -> None:
    assert "Multiply-accumulates" in shared.locator(".trade-off:not([hidden]) .xtitle").text_content()
    shared.get_by_role("radio", name="MACs").focus()
    shared.keyboard.press("ArrowRight")
    title = shared.locator(".trade-off:not([hidden]) .xtitle")
    playwright.expect(title).to_have_text("Measured latency, batch 64")
    shared.keyboard.press("ArrowLeft")
    playwright.expect(title).to_contain_text("Multiply-accumulates")


def test_the_table_sorts_by_numbers_and_by_words(shared, reported) -> None:
    by_top1 = sorted(reported.report.rows, key=lambda row: row.top1)
    button = head(shared, "Top-1 %").get_by_role("button")
    button.click()
    assert head(shared, "Top-1 %").get_attribute("aria-sort") == "ascending"
    shown = [float(text.split()[0]) for text in column(shared, "Top-1 %")]
    assert shown == pytest.approx([100 * row.top1 for row in by_top1], abs=0.006)
    button.press("Enter")
    assert head(shared, "Top-1 %").get_attribute("aria-sort") == "descending"
    assert [float(text.split()[0]) for text in column(shared, "Top-1 %")] == shown[::-1]
    head(shared, "Δ").get_by_role("button").click()
    assert head(shared, "Top-1 %").get_attribute("aria-sort") == "none"
    gains = column(shared, "Δ")
    assert gains.index("–") == len(gains) / 2  # dense networks have none, and stay last
    head(shared, "Attention").get_by_role("button").press("Space")
    names = column(shared, "Attention")
    assert len(list(groupby(names))) == len(set(names))
    assert names.index("nam (channel, block)") < names.index("none")


def test_the_table_is_filtered_by_words_and_by_kind(shared, reported) -> None:
    rows = len(reported.report.rows)
    search, count = shared.get_by_role("searchbox"), shared.locator("#count")
    search.fill("CUT-dense-nam-s2")  # a run that is behind a row and not named in it
    playwright.expect(count).to_have_text(f"1 of {rows} shown")
    assert column(shared, "Cut") == ["0.5 nam global"]
    search.fill("nothing is called so")
    playwright.expect(count).to_have_text(f"0 of {rows} shown")
    search.fill("")
    shared.get_by_role("button", name="dense", exact=True).click()
    playwright.expect(count).to_have_text(f"{rows // 2} of {rows} shown")
    shared.get_by_role("group", name="Attention").get_by_role("button", name="nam", exact=True).click()
    assert column(shared, "Attention") == ["nam (channel, block)"]
    shared.locator('.chip[aria-pressed="true"]').first.press("Enter")
    shared.locator('.chip[aria-pressed="true"]').press("Enter")
    playwright.expect(count).to_have_text(f"{rows} of {rows} shown")


def test_a_chosen_run_is_drawn(shared, reported) -> None:
    detail = next(detail for detail in reported.details if detail.widths)
    name = detail.result.name
    shared.get_by_label("Run", exact=True).select_option(label=name)
    run = shared.locator(".run:visible")
    assert run.count() == 1
    assert run.locator("h3").inner_text() == name
    for kind, traces in {"loss": 2, "accuracy": 2, "gamma": 3}.items():
        plot = run.locator(f'[data-figure$="-{kind}"]')
        plot.scroll_into_view_if_needed()
        playwright.expect(plot.locator(".trace.scatter")).to_have_count(traces)
        assert plot.locator(".js-line").first.get_attribute("d").startswith("M")
    widths = run.locator('[data-figure$="-widths"]')
    widths.scroll_into_view_if_needed()
    playwright.expect(widths.locator(".barlayer .point")).to_have_count(2 * len(detail.widths))
    heat = run.locator('[data-figure$="-sensitivity"]')
    heat.scroll_into_view_if_needed()
    playwright.expect(heat.locator(".hm image")).to_have_count(1)
    playwright.expect(heat.locator(".heatmap-label")).to_have_count(6)
    assert "fine-tuning" in run.locator(".annotation-text").all_text_contents()
    run.get_by_text("Numbers").first.click()
    playwright.expect(run.locator(".numbers table tbody tr")).to_have_count(len(detail.epochs))


def test_a_run_of_the_table_is_gone_to(shared) -> None:
    link = shared.locator("#grid a").last
    link.press("Enter")
    playwright.expect(shared.locator(".run:visible h3")).to_have_text(re.sub(r" \+\d+$", "", link.inner_text()))
    playwright.expect(shared.locator(".run:visible")).to_be_focused()
    shared.get_by_role("button", name="Previous run").click()
    link.press("Enter")  # again, after another one was looked at
    playwright.expect(shared.locator(".run:visible")).to_be_focused()


def test_hostile_names_are_text_wherever_they_stand(shared, reported) -> None:
    names = {row.attention for row in reported.report.rows}
    assert names <= set(column(shared, "Attention"))
    assert shared.locator("main img, main b, main i, main script, svg a").count() == 0
    name = next(detail.result.name for detail in reported.details if "onerror" in detail.result.name)
    shared.get_by_label("Run", exact=True).select_option(label=name)
    assert shared.locator(".run:visible h3").inner_text() == name
    assert shared.title().startswith("resnet20 on {{7*7}}<b>x</b>")
    point = shared.locator(".trade-off:not([hidden]) .traceline0 path.point").first
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    shared.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    hover = shared.locator(".hoverlayer .hovertext")
    playwright.expect(hover).to_have_count(1)
    line = reported.planes[0].lines[0]
    assert line.name in hover.text_content()
    assert any(run in hover.text_content() for point in line.points for run in point.row.runs)


def test_dark_and_light(browser, file) -> None:
    with opened(browser, file, color_scheme="light") as watched:
        page = watched.page
        page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
        paper = "getComputedStyle(document.body).backgroundColor"
        tick = ".trade-off:not([hidden]) .xtick text"
        light = (page.evaluate(paper), page.locator(tick).first.evaluate("tick => getComputedStyle(tick).fill"))
        assert page.evaluate(CONTRAST) == []
        page.locator("#theme").press("Enter")
        dark = (page.evaluate(paper), page.locator(tick).first.evaluate("tick => getComputedStyle(tick).fill"))
        assert dark[0] != light[0]
        assert dark[1] != light[1]
        assert page.evaluate(CONTRAST) == []


def test_on_paper_there_are_tables_and_plots_and_no_controls(browser, file) -> None:
    with opened(browser, file, color_scheme="dark") as watched:
        page = watched.page
        page.emulate_media(media="print")
        playwright.expect(page.locator(".run.shown .plot .main-svg").first).to_be_visible()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.locator("#grid").is_visible()
        assert page.locator(".trade-off:not([hidden]) .trace").first.is_visible()
        assert page.locator("nav, .controls, .segments, .recipe").filter(visible=True).count() == 0
        assert page.pdf(format="A4").startswith(b"%PDF")


def test_a_narrow_screen_is_not_scrolled_sideways(browser, file) -> None:
    with opened(browser, file, viewport={"width": 360, "height": 700}) as watched:
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= 360
        assert watched.page.locator(".trade-off:not([hidden]) .main-svg").first.bounding_box()["width"] <= 360
        lines = watched.page.locator(".run:visible tbody td:first-child").evaluate_all(
            "cells => cells.map((cell) => { const r = document.createRange(); r.selectNodeContents(cell);"
            " return r.getClientRects().length; })"
        )
        assert set(lines) == {1}, "a table scrolls rather than break its words"


def test_the_policy_refuses_what_gets_in(browser, file) -> None:
    page = browser.new_page()
    failures: list[str] = []
    page.goto(file.as_uri())
    page.on("requestfailed", lambda request: failures.append(request.failure))
    refused = page.evaluate(
        """async () => {
          const script = document.createElement("script");
          script.textContent = "window.injected = true";
          document.body.append(script);
          const picture = new Image();
          const failed = new Promise((resolve) => { picture.onerror = () => resolve("image"); });
          picture.src = "http://127.0.0.1:9/x.png";
          return [window.injected, await fetch("http://127.0.0.1:9/").catch(() => "fetch"), await failed];
        }"""
    )
    assert refused == [None, "fetch", "image"]
    assert set(failures) == {"csp"}  # nobody was asked
    page.close()


def test_without_scripts_the_words_and_tables_are_there(browser, file, reported) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(file.as_uri())
    assert page.locator("#grid tbody tr").count() == len(reported.report.rows)
    assert page.locator("#verdicts li").first.is_visible()
    assert page.locator("noscript p").first.is_visible()
    assert page.locator("#search").is_hidden()
    page.close()
