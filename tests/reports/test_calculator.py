"""The page's calculator in a real browser: its answers are those of `choose`, by mouse, keyboard and touch."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from runner_lab.records.traits import ArmTraits, before
from runner_lab.reports import charts
from runner_lab.reports.analysis.summary import Summary, summarise
from runner_lab.reports.charts.decision import decision_map
from runner_lab.reports.choose import answer as words
from runner_lab.reports.choose.choice import Ranked, rank, without_async
from runner_lab.reports.choose.decisions import ROWS, decisions
from runner_lab.reports.choose.ranking import Request
from runner_lab.reports.model.distance import ApiTrips
from runner_lab.reports.pages import page as pages
from runner_lab.reports.words import advice, units, verdict
from tests.chromium import chromium
from tests.reports import machine, synthetic
from tests.reports.conftest import violations

pytestmark = pytest.mark.slow

QUESTIONS = 1_000
WITHIN = 1e-3
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 800}


@dataclass(frozen=True)
class Asked:
    """A run's summary and the address of its page."""

    summary: Summary
    address: str


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """A run of the quick profile that has measured a distant API too."""
    folder = tmp_path_factory.mktemp("calculator")
    loop = [replace(record, role="arm") for record in machine.records([machine.GATHER], machine.QUICK, 2, workers=1)]
    records = [*machine.records(machine.RUNNERS, machine.QUICK, blocks=2), *loop]
    traits = {runner.name: before(runner.engine, runner.name, runner.lean) for runner in machine.RUNNERS}
    traits |= {"gather": ArmTraits(rank=5, slots_share_gil=True, event_loop=True, caveat="one at a time")}
    found = summarise(synthetic.write(folder, records, synthetic.plan(records, traits=traits)))
    trips = ApiTrips(task=1.5, link=1.0, flow_run=4.0, latency_s=0.08)
    arms = tuple(replace(arm, costs=replace(arm.costs, api_trips=trips)) for arm in found.model.arms)
    found = replace(found, model=replace(found.model, arms=arms))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(charts, "CHARTS", (decision_map,))
        drawn = charts.draw(found)
    written = folder / "report.html"
    written.write_text(pages.html(found, verdict.of(found), advice.warnings(found), drawn))
    return Asked(found, written.as_uri())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser: Browser, asked: Asked) -> Iterator[Page]:
    opened = browser.new_page(viewport=DESKTOP)
    opened.goto(asked.address)
    yield opened
    opened.close()


def questions(count: int, seed: int) -> list[Request]:
    """Drawn over all that can be asked."""
    drawn = random.Random(seed)
    kinds = [drawn.choice(("sleep", "spin", "crunch", "none")) for _ in range(count)]
    return [
        Request(
            tasks=round(10 ** drawn.uniform(0, 6)),
            seconds=0.0 if kind == "none" else 10 ** drawn.uniform(-4, 3),
            kind=kind,
            payload_bytes=drawn.choice((0.0, 10 ** drawn.uniform(1, 8))),
            workers=drawn.choice((None, drawn.randint(1, 200))),
            cold=drawn.random() < 0.5,
            cores=drawn.choice((None, drawn.randint(1, 64))),
            api_latency_s=drawn.choice((None, drawn.uniform(0, 0.2))),
        )
        for kind in kinds
    ]


def figures(ranked: Ranked) -> list[float]:
    return [ranked.slots, ranked.seconds, ranked.low, ranked.high, ranked.memory_bytes or 0.0]


def test_the_page_answers_as_python_does(page: Page, asked: Asked) -> None:
    requests = questions(QUESTIONS, seed=17)
    answers = page.evaluate("requests => requests.map(rank)", [asdict(request) for request in requests])
    others = page.evaluate(
        "requests => requests.map(request => without_async(request, rank(request))?.arm ?? null)",
        [asdict(request) for request in requests],
    )
    named = set()
    for request, answer, other in zip(requests, answers, others, strict=True):
        expected = rank(asked.summary, request)
        named.add(expected[0].arm)
        assert [one["arm"] for one in answer] == [one.arm for one in expected], request
        for one, ranked in zip(answer, expected, strict=True):
            shown = [one[name] for name in ("slots", "seconds", "low", "high", "memory_bytes")]
            assert shown == pytest.approx(figures(ranked), rel=WITHIN), request
            assert (one["leads"], one["bottleneck"]) == (ranked.leads, ranked.bottleneck), request
        without = without_async(asked.summary, request, expected)
        assert other == (without.arm if without else None)
    assert len(named) > 4, "questions that tell runners apart"


def test_it_marks_as_an_estimate_what_the_verdict_does(page: Page, asked: Asked) -> None:
    found = decisions(asked.summary)
    assert found is not None
    marked = set()
    for name, kind, seconds in ROWS:
        for decision in found.rows[name]:
            request = asdict(Request(decision.tasks, seconds, kind, cold=found.cold))
            assert page.evaluate("request => estimate(request)", request) == decision.estimate
            marked.add(decision.estimate)
    assert marked == {True, False}


def test_it_writes_numbers_and_its_sentence_as_python_does(page: Page, asked: Asked) -> None:
    drawn = random.Random(3)
    values = [0.0, 0.0009996, 0.9996, 9.995, 99.99, 7199.0, *(10 ** drawn.uniform(-5, 5) for _ in range(300))]
    assert page.evaluate("values => values.map(seconds_said)", values) == [units.seconds(value) for value in values]
    bytes_ = [999_600, 2e12, *(10 ** drawn.uniform(0, 12) for _ in range(200))]
    assert page.evaluate("values => values.map(size)", bytes_) == [units.size(value) for value in bytes_]
    for request in questions(20, seed=5):
        first = rank(asked.summary, request)[0]
        said = f"Take {words.placed(first)}: {units.seconds(first.seconds)} ({words.between(first)})."
        assert page.evaluate("request => headline(rank(request))", asdict(request)) == said


def first_arm(page: Page) -> str:
    return page.locator("#ranking li").first.locator("b").first.inner_text()


def test_typing_answers_at_once_and_the_address_holds_the_question(browser: Browser, page: Page, asked: Asked) -> None:
    page.get_by_label("Tasks", exact=True).fill("2,000")
    page.keyboard.press("Tab")
    page.keyboard.type("x")
    page.get_by_label("Seconds each", exact=True).fill("20ms")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.get_by_label("computes", exact=True).is_checked()
    expected = rank(asked.summary, Request(2000, 0.02, "spin", cold=True))
    assert page.locator("#ranking li").count() == len(expected)
    assert first_arm(page) == expected[0].arm
    assert units.seconds(expected[0].seconds) in page.locator("#answer").inner_text()
    page.get_by_text("More: payload").click()
    page.get_by_label("Slots", exact=True).fill("3")
    page.locator("select[name=startup]").select_option("warm")
    warm = rank(asked.summary, Request(2000, 0.02, "spin", workers=3))
    assert first_arm(page) == warm[0].arm

    again = browser.new_page()
    again.goto(page.url)
    assert again.locator("#answer").inner_text() == page.locator("#answer").inner_text()
    assert again.get_by_label("Slots", exact=True).input_value() == "3"
    again.goto(asked.address + "#tasks=7&task-seconds=2&work=cpu-no-gil")
    assert first_arm(again) == rank(asked.summary, Request(7, 2.0, "crunch", cold=True))[0].arm
    again.goto(asked.address + "#tasks=50&work=none&startup=warm")
    assert first_arm(again) == rank(asked.summary, Request(50, 0.0, "none"))[0].arm
    again.close()


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("Tasks", "many", "Tasks: write a whole number, such as 1000."),
        ("Tasks", "0", "Tasks: from 1 to 100000000."),
        ("Seconds each", "3 weeks", "Seconds each: write it like 0.3 or 300ms."),
        ("Seconds each", "1e9", "Seconds each: at most 10000000 seconds."),
    ],
)
def test_a_field_that_makes_no_sense_says_so_and_keeps_the_last_answer(
    page: Page, field: str, text: str, said: str
) -> None:
    before = page.locator("#answer").inner_text()
    page.get_by_label(field, exact=True).fill(text)
    assert page.locator("#problem").inner_text() == said
    assert page.locator("#answer").inner_text() == before
    page.get_by_label(field, exact=True).fill("5")
    assert page.locator("#problem").inner_text() == ""


def test_a_tap_on_the_map_asks_that_point(browser: Browser, asked: Asked) -> None:
    context = browser.new_context(viewport=PHONE, has_touch=True)
    page = context.new_page()
    page.goto(asked.address)
    panel = page.locator("#decision-map-spin-cold path").first
    panel.scroll_into_view_if_needed()
    box = panel.bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + 0.75 * box["width"], box["y"] + 0.25 * box["height"])
    request = page.evaluate("request_of(asked())")
    assert (request["kind"], request["cold"]) == ("spin", True)
    # Three quarters along 2 to 100,000 tasks and 1 ms to 100 s, on logarithmic axes.
    assert request["tasks"] == pytest.approx(2 * 50_000**0.75, rel=0.06)
    assert request["seconds"] == pytest.approx(1e-3 * 1e5**0.75, rel=0.06)
    said = page.locator("#map-answer").inner_text()
    assert f"Take {rank(asked.summary, Request(**request))[0].arm}" in said
    ring = page.locator(".asked").last.bounding_box()
    assert ring is not None
    assert ring["x"] + ring["width"] / 2 == pytest.approx(box["x"] + 0.75 * box["width"], abs=3)
    assert ring["y"] + ring["height"] / 2 == pytest.approx(box["y"] + 0.25 * box["height"], abs=3)
    page.get_by_role("button", name="See all runners").tap()
    assert page.locator("#ranking").is_visible()
    context.close()


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_first_screen_holds_question_answer_and_every_runner(browser: Browser, asked: Asked, size: dict) -> None:
    page = browser.new_page(viewport=size)
    page.goto(asked.address)
    ends = [page.locator(name).last.bounding_box() for name in ("#calculator .switch", "#answer", "#ranking li")]
    assert all(box and box["y"] + box["height"] <= size["height"] for box in ends)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    page.close()


def test_tied_runners_are_told_apart_in_words(page: Page, asked: Asked) -> None:
    for seconds in (0.3, 2.0, 20.0):
        page.get_by_label("Seconds each", exact=True).fill(str(seconds))
        expected = rank(asked.summary, Request(1000, seconds, "sleep", cold=True))
        tags = ["best", *("as fast" if one.leads else "" for one in expected[1:])]
        rows = page.locator("#ranking li")
        shown = [row.locator("em").inner_text() if row.locator("em").count() else "" for row in rows.all()]
        assert shown == tags


def test_without_javascript_the_verdicts_table_stands_there(browser: Browser, asked: Asked) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(asked.address)
    assert not page.locator("#calculator").is_visible()
    assert page.locator("#decisions").is_visible()
    assert page.locator("#decision-map-section svg").is_visible()
    context.close()


def test_on_paper_the_answer_is_there_and_the_fields_that_nobody_filled_are_not(page: Page) -> None:
    page.emulate_media(media="print")
    assert page.locator("#answer").is_visible()
    assert page.locator("#ranking").is_visible()
    assert not page.locator(".more").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_axe_finds_nothing(browser: Browser, asked: Asked, axe: str, size: dict, scheme: str) -> None:
    page = browser.new_page(viewport=size, color_scheme=scheme)
    page.goto(asked.address)
    assert violations(page, axe) == []
    page.close()


def test_the_page_is_one_file_under_the_limit(asked: Asked) -> None:
    assert Path(asked.address.removeprefix("file://")).stat().st_size < 1_500_000
