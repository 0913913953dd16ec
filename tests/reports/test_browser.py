"""The page in a real browser: Debian's Chromium, headless, offline."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from runner_lab.reports.advise import advice
from runner_lab.reports.advise.prediction import Target, predict
from runner_lab.reports.analysis.summary import summarise
from runner_lab.reports.pages import advise_page
from tests.chromium import chromium
from tests.reports import machine, synthetic
from tests.reports.analysis import test_scale
from tests.reports.conftest import DRAWN, SCRIPT, RenderedRun, render, violations
from tests.reports.profiles import computes, profile, waits

pytestmark = pytest.mark.slow

PHONE, DESKTOP = 390, 1280


@dataclass
class OpenPage:
    """A page that was opened, with everything it asked for and complained about."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def visit(browser: Browser, run: RenderedRun, width: int, scheme: str) -> OpenPage:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    opened = OpenPage(page)
    page.on("request", lambda request: opened.requests.append(request.url))
    page.on("console", lambda message: opened.complaints.append(message.text))
    page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    page.on("dialog", lambda dialog: (opened.complaints.append(dialog.message), dialog.dismiss()))
    page.goto(run.rendered.html.as_uri())
    return opened


@pytest.fixture(scope="module")
def desktop(browser: Browser, full_run: RenderedRun) -> Iterator[OpenPage]:
    opened = visit(browser, full_run, DESKTOP, "light")
    yield opened
    opened.page.close()


def open_columns(page: Page) -> int:
    """Columns of the widest table that is seen before anything is unfolded."""
    widest: int = page.evaluate(
        "Math.max(...[...document.querySelectorAll('table')].filter(t => t.checkVisibility())"
        ".map(t => t.tHead.rows[0].cells.length))"
    )
    return widest


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_the_page_opens_clean_whole_and_alone(browser: Browser, full_run: RenderedRun, width: int, scheme: str) -> None:
    opened = visit(browser, full_run, width, scheme)
    page = opened.page
    assert opened.complaints == []
    assert open_columns(page) <= 7
    assert "Not drawn" not in page.content()
    assert opened.requests == [full_run.rendered.html.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    unfolded(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = [chart.bounding_box() for chart in page.locator("figure svg").all()]
    assert len(boxes) == DRAWN
    assert all(box and box["width"] > min(width, 500) * 0.8 and box["height"] > 100 for box in boxes)
    assert all(box and box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
    page.close()


def test_text_in_charts_is_readable_on_a_phone(browser: Browser, full_run: RenderedRun) -> None:
    opened = visit(browser, full_run, PHONE, "light")
    unfolded(opened.page)
    heights = opened.page.evaluate(
        "[...document.querySelectorAll('figure svg text')].map(t => parseFloat(getComputedStyle(t).fontSize)"
        " * Math.hypot(t.getScreenCTM().a, t.getScreenCTM().b))"
    )
    assert min(heights) >= 7.5
    opened.page.close()


def test_nothing_in_a_chart_is_cut_off(desktop: OpenPage) -> None:
    unfolded(desktop.page)
    outside = desktop.page.evaluate(
        """[...document.querySelectorAll('figure svg')].flatMap(svg => {
            const frame = svg.getBoundingClientRect();
            return [...svg.querySelectorAll('text')].filter(t => {
                const box = t.getBoundingClientRect();
                return box.left < frame.left - 1 || box.right > frame.right + 1
                    || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
            }).map(t => svg.querySelector('title').textContent + ': ' + t.textContent);
        })"""
    )
    assert outside == []


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_the_page_of_a_users_flow_opens_clean_and_whole(browser: Browser, tmp_path: Path, width: int) -> None:
    records = synthetic.comparison((*synthetic.SMOKE, synthetic.STOCK[5]))
    opened = visit(browser, render(synthetic.write(tmp_path, records, synthetic.plan(records))), width, "light")
    page = opened.page
    assert opened.complaints == []
    assert open_columns(page) <= 7
    assert page.locator("h1").inner_text() == "Which task runner for etl(n=3)?"
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#measurements tbody tr").count() == 20
    assert page.locator("figure svg").count() == 1
    page.close()


def comparison_page(folder: Path) -> Path:
    records = synthetic.comparison((*synthetic.SMOKE, synthetic.STOCK[5]))
    render(synthetic.write(folder, records, synthetic.plan(records)))
    return folder / "report.html"


def scale_page(folder: Path) -> Path:
    render(synthetic.write(folder, test_scale.wide()))
    return folder / "report.html"


def advice_page(folder: Path) -> Path:
    summary = summarise(synthetic.write(folder, machine.records()))
    flow = profile([waits(0.3)] * 20 + [computes(0.5)] * 20)
    found = predict(summary, flow, Target())
    page = folder / "advise.html"
    page.write_text(advise_page.html(advice.advise(summary, found, {})), encoding="utf-8")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("made", [comparison_page, scale_page, advice_page])
def test_axe_finds_nothing_on_the_other_pages(
    browser: Browser, axe: str, tmp_path: Path, made: Callable[[Path], Path], width: int, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(made(tmp_path).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(page, axe) == []
    page.close()


def test_dark_and_light_pages_differ_and_both_are_readable(browser: Browser, full_run: RenderedRun) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        opened = visit(browser, full_run, DESKTOP, scheme)
        seen[scheme] = opened.page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,"
            " getComputedStyle(document.querySelector('figure svg text')).fill]"
        )
        opened.page.close()
    assert seen["light"] == ["rgb(243, 245, 247)", "rgb(31, 35, 40)", "rgb(31, 35, 40)"]
    assert seen["dark"] == ["rgb(13, 17, 23)", "rgb(230, 237, 243)", "rgb(230, 237, 243)"]


def unfolded(page: Page) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")


def column(page: Page, index: int) -> list[float | None]:
    values = page.locator("#arms tbody tr").evaluate_all(
        "(rows, index) => rows.map(row => row.cells[index].dataset.sort ?? null)", index
    )
    return [None if value is None else float(value) for value in values]


def ordered(values: list[float | None]) -> bool:
    """Ascending, with what was not measured at the end."""
    known = [value for value in values if value is not None]
    return known == sorted(known) and values[: len(known)] == known


def test_a_click_sorts_by_number_and_a_second_one_turns_it_round(desktop: OpenPage) -> None:
    page = desktop.page
    unfolded(page)
    head = page.locator("#arms thead th").nth(3)
    assert not ordered(column(page, 3))
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert ordered(column(page, 3))
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    values = column(page, 3)
    assert ordered([value for value in reversed(values) if value is not None])


def test_the_keyboard_sorts_too_and_one_column_only(desktop: OpenPage) -> None:
    page = desktop.page
    unfolded(page)
    page.locator("#arms thead th").nth(5).get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert ordered(column(page, 5))
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert ordered(column(page, 6))
    assert page.locator("#arms thead th[aria-sort]").count() == 1


def test_what_was_not_measured_sorts_last_both_ways(desktop: OpenPage) -> None:
    page = desktop.page
    unfolded(page)
    button = page.locator("#arms thead th").nth(12).get_by_role("button")
    for _ in range(2):
        button.click()
        values = column(page, 12)
        missing = values.count(None)
        assert missing == 3, "bare arms record nothing"
        assert values[-missing:] == [None] * missing


def test_names_sort_as_text_and_stay_text(desktop: OpenPage) -> None:
    page = desktop.page
    unfolded(page)
    page.locator("#arms thead th").first.get_by_role("button").click()
    names = page.locator("#arms tbody th").evaluate_all(
        "heads => heads.map(head => head.firstChild.textContent.trim())"
    )
    known = [name for name in names if name.replace("-", "").isalpha()]
    assert known == sorted(known)
    assert page.get_by_text(SCRIPT, exact=True).first.is_visible()


def test_folded_tables_open_by_keyboard(desktop: OpenPage) -> None:
    page = desktop.page
    page.reload()
    assert not page.locator("#cells-0").is_visible()
    for fold in page.locator("details", has=page.locator("#cells-0")).all():
        fold.locator("summary").first.focus()
        page.keyboard.press("Enter")
    assert page.locator("#cells-0").is_visible()


def test_charts_and_tables_are_named_for_those_who_do_not_see_them(desktop: OpenPage) -> None:
    page = desktop.page
    unfolded(page)
    names = [page.locator("figure").nth(i).get_by_role("img").first for i in range(DRAWN)]
    assert all(name.count() == 1 for name in names)
    snapshot = page.locator("main").aria_snapshot()
    assert 'img "Cost of a task' in snapshot
    assert 'region "Table: Every arm"' in snapshot
