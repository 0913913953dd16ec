"""The page and the Markdown: nothing unescaped, nothing fetched, everything a reader must see."""

from __future__ import annotations

import html.parser
import re

import pytest

from runner_lab.reports.analysis.statistics import Estimate
from runner_lab.reports.pages.markdown import escape, linked
from runner_lab.reports.words import units
from tests.reports.conftest import DRAWN, LONG, SCRIPT, RenderedRun


class Elements(html.parser.HTMLParser):
    """Tags with their attributes, and the text outside style and script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._skip = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._skip += tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._skip -= tag in ("style", "script")

    def handle_data(self, data: str) -> None:
        self.text += "" if self._skip else data


@pytest.fixture(scope="module")
def page(full_run: RenderedRun) -> Elements:
    return Elements(full_run.html)


def test_hostile_names_are_text_and_nothing_else(full_run: RenderedRun, page: Elements) -> None:
    assert SCRIPT in page.text
    assert units.printable(LONG, 40) in page.text
    assert 'Boom: <b onclick="x">"1" | 2</b>' in page.text
    assert [tag for tag, _ in page.tags].count("script") == 2, "the page's own, and its data"
    assert not {"b", "iframe", "object", "link", "img", "base"} & {tag for tag, _ in page.tags}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert "\x1b" not in full_run.html
    assert "\u202e" not in full_run.html


def test_nothing_on_the_page_points_outside(full_run: RenderedRun, page: Elements) -> None:
    assert not re.findall(r"https?://|//[a-z]+\.|@import|url\((?!#)", full_run.html)
    for _, attributes in page.tags:
        assert not attributes.get("src")
        assert (attributes.get("href") or "#").startswith("#")
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "sha256-" in policy


def test_a_reader_meets_the_fields_the_verdict_how_sure_the_map_and_then_the_rest(
    full_run: RenderedRun, page: Elements
) -> None:
    titles = ("Tasks", "Verdict", "How sure", "Before you rely on it", "The map", "Details", "All measurements")
    places = [page.text.index(text) for text in titles]
    assert places == sorted(places)
    for line in (*full_run.rendered.verdict, *full_run.rendered.warnings):
        assert line in page.text


def test_every_table_can_be_sorted_and_is_named(page: Elements) -> None:
    tables = [attributes for tag, attributes in page.tags if tag == "table"]
    assert len(tables) >= 9
    assert all("data-sortable" in attributes for attributes in tables)
    heads = [a for tag, a in page.tags if tag == "th" and a.get("scope") == "col"]
    buttons = [a for tag, a in page.tags if tag == "button"]
    assert len(heads) == len(buttons)


def test_main_columns_are_all_there(page: Elements) -> None:
    for title in (
        *(
            "Arm",
            "Startup",
            "First result",
            "ms a task",
            "Against baseline",
            "tasks/s",
            "Submit ms",
            "p95 wait ms",
            "CPU s",
        ),
        *("Peak MB", "Cached s", "Retry ms", "Recorded"),
    ):
        assert re.search(rf"^{re.escape(title)}$", page.text, re.MULTILINE), title


def test_markdown_tables_hold_together(full_run: RenderedRun) -> None:
    blocks = re.findall(r"(?:^\|.*\n)+", full_run.markdown + full_run.details, re.MULTILINE)
    assert len(blocks) >= 9
    for block in blocks:
        columns = {line.count("|") for line in block.splitlines()}
        assert len(columns) == 1, block[:200]


def test_markdown_escapes_and_links_charts_beside_it(full_run: RenderedRun) -> None:
    allowed = {"br", "sub", "/sub", "details", "/details", "summary", "/summary"}
    text = full_run.markdown + full_run.details
    assert set(re.findall(r"<([^>\s]+)[^>]*>", text)) == allowed
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert len(pictures) == DRAWN
    assert all((full_run.folder / picture).is_file() for picture in pictures)
    assert "http" not in text
    assert "Not drawn" not in text


def test_the_markdown_for_a_pull_request_is_a_page(full_run: RenderedRun) -> None:
    assert len(full_run.markdown.splitlines()) <= 120
    assert "[All tables and charts](details.md)" in full_run.markdown


@pytest.mark.parametrize(
    "text", ["a|b", "<i>", "`x`", "*x* _x_", "[a](b)", "@somebody #12", "https://x.y", "$x$", "a\\|b"]
)
def test_markdown_escape_leaves_no_syntax(text: str) -> None:
    assert not set("|<>`*_[]@$\\") & set(escape(text))
    assert "://" not in escape(text)
    assert "#12" not in escape(text).replace("&#", "")


def test_a_link_ends_where_it_should() -> None:
    assert linked("a]b", "../x) [y](z|\ud800") == "[a&#93;b](../x%29%20%5By%5D%28z%7C?)"
    assert linked("Report", "http://lab.example/a%20b?x=1#y") == "[Report](http://lab.example/a%20b?x=1#y)"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.000012345, "12.3 \u00b5s"),
        (0.0009999, "1.00 ms"),
        (0.01234, "12.3 ms"),
        (0.9999, "1.00 s"),
        (12.345, "12.3 s"),
        (99.99, "100 s"),
        (125, "2.08 min"),
        (0, "0 s"),
        (None, "-"),
    ],
)
def test_durations_have_three_digits_and_a_unit(value: float | None, text: str) -> None:
    assert units.seconds(value) == text


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (units.digits(1234.5), "1230"),
        (units.digits(0.05), "0.0500"),
        (units.digits(9.996), "10.0"),
        (units.digits(float("nan")), "-"),
        (units.times(8.314), "8.31x"),
        (units.times(23.96), "24x"),
        (units.times(130.7), "131x"),
        (units.times(0.00984), "0.0098x"),
        (units.percent(0.004), "0.4 %"),
        (units.percent(0.734, signed=True), "+73 %"),
        (units.exactly(0.02), "20 ms"),
        (units.exactly(1.5), "1.5 s"),
        (units.about(0.0384), "38 ms"),
        (units.size(620e6), "620 MB"),
        (units.size(1.3e9), "1.3 GB"),
        (units.span("1.10 s", "2.30 s"), "1.10\u20132.30 s"),
        (units.span("900 ms", "1.10 s"), "900 ms\u20131.10 s"),
        (units.span("-3", "4"), "-3 to 4"),
        (units.interval(Estimate(1, 0.001, 900, 2)), "too wide"),
        (units.interval(Estimate(1, None, None, 1)), ""),
        (units.printable("a\n b\x00\u202ec"), "a b\ufffd\ufffdc"),
        (units.printable("x" * 50, 10), "xxxxxxxxx\u2026"),
        (units.listed(["a", "b", "c"]), "a, b and c"),
        (units.listed([]), ""),
    ],
)
def test_numbers_and_words_as_a_reader_sees_them(told: str, text: str) -> None:
    assert told == text
