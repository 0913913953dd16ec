"""What a distant API costs: round trips are found as they are, noise is none, and an answer says where they matter."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from runner_lab.records.record import Phases, Record
from runner_lab.reports.analysis.summary import Summary, summarise
from runner_lab.reports.choose import answer as words
from runner_lab.reports.choose import asking
from runner_lab.reports.choose.choice import choose
from runner_lab.reports.choose.ranking import Request
from runner_lab.reports.history import timings, trend
from runner_lab.reports.history.difference import difference
from runner_lab.reports.history.history import keep, read
from runner_lab.reports.model.model import ArmModel
from runner_lab.reports.pages import markdown, suite_tables
from runner_lab.reports.rendering import render
from tests.reports import machine, synthetic
from tests.reports.machine import THREADS

FAR_S = 0.08
TASK, LINK, FLOW_RUN = 1.0, 2.0, 10.0
SLOTS = 2
GRAPHS = [synthetic.graph(8, "map"), synthetic.graph(32, "map"), synthetic.graph(15, "chain")]
LEAN = replace(THREADS, name="lean-threads", lean=True, submit_s=0.004, slot_wait_s=0.035)
"""Slower than stock threads beside the API, so that distance alone can make it the better one."""


def distant(
    name: str, task: float, link: float, flow_run: float, noise: float = 0.01, blocks: int = 3, seed: int = 1
) -> list[Record]:
    """Records of `api_near` and `api_far` under an arm that waits for so many round trips."""
    rng = np.random.default_rng(seed)
    out = []
    template = machine.records([replace(THREADS, name=name)], [("overhead", synthetic.graph(2))], blocks=1)[0]
    for block in range(blocks):
        for graph in GRAPHS:
            for suite, latency_s in (("api_near", 0.0), ("api_far", FAR_S)):
                each = link if graph.variant == "chain" else task / SLOTS
                makespan = 0.05 + graph.width * (0.02 + each * latency_s) + rng.normal(0, noise)
                total = makespan + 0.3 + flow_run * latency_s
                out.append(
                    replace(
                        template,
                        suite=suite,
                        graph=graph,
                        block=block,
                        tasks=graph.width,
                        phases=Phases(makespan_s=makespan, total_s=total),
                        api_latency_s=latency_s,
                    )
                )
    return out


def run(folder: Path, records: list[Record]) -> Summary:
    return summarise(synthetic.write(folder, records))


def arm(summary: Summary, name: str) -> ArmModel:
    found = summary.model.arm(name)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def records() -> list[Record]:
    base = machine.records([THREADS, LEAN])
    return [
        *base,
        *distant("threads", TASK, LINK, FLOW_RUN),
        *(replace(r, lean=True) for r in distant("lean-threads", 0.0, 0.0, FLOW_RUN, seed=2)),
    ]


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory, records: list[Record]) -> Summary:
    return run(tmp_path_factory.mktemp("distant"), records)


def test_round_trips_are_found_where_there_are_any(summary: Summary) -> None:
    trips = arm(summary, "threads").costs.api_trips
    assert trips is not None
    assert (trips.task, trips.link) == (pytest.approx(TASK, rel=0.2), pytest.approx(LINK, rel=0.05))
    assert trips.flow_run == pytest.approx(FLOW_RUN, rel=0.01)
    assert trips.latency_s == pytest.approx(FAR_S)


@pytest.mark.parametrize("seed", range(8))
def test_noise_is_no_round_trip(tmp_path: Path, seed: int) -> None:
    found = run(tmp_path, [*machine.records([THREADS]), *distant("threads", 0.0, 0.0, 0.0, noise=0.02, seed=seed)])
    trips = arm(found, "threads").costs.api_trips
    assert trips is not None
    assert trips.task < 0.3
    assert trips.link is not None
    assert trips.link < 0.3


def test_one_block_tells_whole_round_trips_and_no_parts_of_one(tmp_path: Path) -> None:
    base = machine.records([THREADS])
    whole = run(tmp_path / "whole", [*base, *distant("threads", 2.0, 2.0, 0.0, noise=0.0, blocks=1)])
    part = run(tmp_path / "part", [*base, *distant("threads", 0.4, 0.2, 0.0, noise=0.0, blocks=1)])

    told = [arm(one, "threads").costs.api_trips for one in (whole, part)]
    assert [(round(t.task, 2), round(t.link or 0, 2)) for t in told if t] == [(2.0, 2.0), (0.0, 0.0)]


def test_what_is_far_has_no_part_in_what_a_task_costs(tmp_path: Path, summary: Summary) -> None:
    alone = run(tmp_path, machine.records([THREADS, LEAN]))
    for name in ("threads", "lean-threads"):
        terms = [
            (one.costs.driver_s, one.costs.slot_s, one.costs.cpu_s) for one in (arm(summary, name), arm(alone, name))
        ]
        assert terms[0] == pytest.approx(terms[1])
        assert arm(alone, name).costs.api_trips is None


def test_an_arm_far_away_holds_its_slots_for_the_round_trips_and_starts_later(summary: Summary) -> None:
    near = arm(summary, "threads")
    far, farther = near.away(FAR_S), near.away(2 * FAR_S)
    trips = near.costs.api_trips
    assert trips is not None
    assert far.costs.slot_s - near.costs.slot_s == pytest.approx(trips.task * FAR_S)
    assert farther.costs.slot_s - near.costs.slot_s == pytest.approx(2 * trips.task * FAR_S)
    assert far.costs.cold_s == pytest.approx((near.costs.cold_s or 0) + trips.flow_run * FAR_S)
    assert near.away(None) is near
    assert near.away(0.0).costs.slot_s == near.costs.slot_s


def test_the_answer_says_where_distance_changes_the_runner(summary: Summary) -> None:
    asked = Request(tasks=200, seconds=0.0, kind="none", workers=2)
    beside, far = choose(summary, asked), choose(summary, replace(asked, api_latency_s=FAR_S))

    assert beside.ranked[0].arm == "threads"
    assert far.ranked[0].arm == "lean-threads"
    line = "With the API 80 ms away: lean-threads; beside the server: threads."
    assert line in words.reasons(beside)
    assert line in words.reasons(far)
    assert (
        "A task that takes another's result waits for 2 round trips (160 ms) under threads, for none under "
        in " ".join(words.reasons(far))
    )
    assert ", the API 80 ms away, warm" in words.question(far)
    told = json.loads(words.to_json(far))
    assert (told["request"]["api_latency_s"], told["distance"]["arm"]) == (FAR_S, "lean-threads")


def test_where_distance_changes_nothing_nothing_is_said(tmp_path: Path) -> None:
    lean = [replace(r, lean=True) for r in distant("lean-threads", 0.0, 0.0, 0.0)]
    found = run(tmp_path, [*machine.records([THREADS, LEAN]), *distant("threads", 0.0, 0.0, 0.0), *lean])
    answer = choose(found, Request(tasks=200, seconds=0.3, kind="sleep", workers=2))
    assert not [line for line in words.reasons(answer) if "API" in line]


def test_a_run_that_has_not_measured_distance_says_how_to(tmp_path: Path) -> None:
    found = run(tmp_path, machine.records([THREADS, LEAN]))
    asked = Request(tasks=200, seconds=0.3, workers=2)
    beside, far = choose(found, asked), choose(found, replace(asked, api_latency_s=FAR_S))

    line = (
        "The run has not measured what a distant API does to threads and lean-threads: measure with "
        "--lab-api-latency 80ms, or the full profile."
    )
    assert line in far.cautions
    assert line not in beside.cautions
    assert (far.distance, far.ranked) == (None, beside.ranked)


def test_a_run_that_was_as_far_itself_answers_without_a_word(tmp_path: Path) -> None:
    records = [replace(r, api_latency_s=FAR_S) for r in machine.records([THREADS, LEAN])]
    found = choose(run(tmp_path, records), Request(200, 0.3, workers=2, api_latency_s=FAR_S))
    assert not [line for line in found.cautions if "distant" in line]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("far", "--api-latency far: cannot be read; write it like 80ms or 0.08"),
        ("-1ms", "--api-latency -1ms: must be from 0 to 5 seconds"),
        ("9s", "--api-latency 9s: must be from 0 to 5 seconds"),
    ],
)
def test_a_distance_that_is_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(asking.AskError, match=f"^{message}$"):
        asking.request("10", "0.3", "io", api_latency=text)


def test_the_report_has_the_round_trips_and_the_runs_own_place(tmp_path: Path, records: list[Record]) -> None:
    moved = [replace(r, environment={**r.environment, "api_latency_s": 0.02}) for r in records]
    folder = synthetic.write(tmp_path, moved, synthetic.plan(moved, api_latency_s=0.02))
    found = summarise(folder)
    table = suite_tables.distance(found)

    assert table is not None
    rows = {row[0].text: [entry.text for entry in row[1:]] for row in table.rows}
    assert rows == {"threads": [rows["threads"][0], "2.0", "10.0"], "lean-threads": ["0", "0", "10.0"]}
    assert float(rows["threads"][0]) == pytest.approx(TASK, abs=0.2)
    assert found.run.place == "API 20 ms away"
    rendered = render(folder)
    page = Path(rendered.html).read_text()
    assert "API 20 ms away" in page
    assert "What a distant API costs" in page
    assert "API 20 ms away" in markdown.text(found, (), (), ())


def test_runs_with_different_distances_are_told_apart_and_never_pooled(tmp_path: Path) -> None:
    base = machine.records([THREADS])
    results = tmp_path / "results"
    for name, latency_s in (("old", None), ("near", 0.0), ("far", FAR_S)):
        told = {} if latency_s is None else {"api_latency_s": latency_s}
        lines = [replace(r, run_id=name, environment={**r.environment, **told}) for r in base]
        folder = synthetic.write(results / name, lines, synthetic.plan(lines, api_latency_s=latency_s or 0.0))
        kept = keep(folder, summarise(folder), timings.read(folder), "Take threads.")

    (fact,) = difference(timings.read(results / "near"), timings.read(results / "far")).facts
    assert fact == "Different versions or settings: api_latency_s 0.0 -> 0.08."
    assert difference(timings.read(results / "old"), timings.read(results / "near")).facts == ()
    runs = {one.folder: one for one in read(kept)}
    assert runs["old"].series == runs["near"].series != runs["far"].series
    assert trend.series(list(runs.values()), runs["far"]) == [runs["far"]]
