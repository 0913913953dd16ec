"""`choose` against a simulated machine, where the truth can be looked up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner_lab.records import run_plan
from runner_lab.records.run_plan import RunPlan
from runner_lab.records.traits import ArmTraits, before
from runner_lab.reports.analysis.statistics import LARGEST_TIE
from runner_lab.reports.analysis.summary import Summary, summarise
from runner_lab.reports.choose import answer as words
from runner_lab.reports.choose import atlas
from runner_lab.reports.choose.choice import CannotChoose, candidates, choose
from runner_lab.reports.choose.ranking import AS_GOOD, Request, time_s
from runner_lab.reports.pages import tables
from tests.reports import machine, synthetic
from tests.reports.machine import RUNNERS, independent


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return summarise(synthetic.write(tmp_path_factory.mktemp("simulated"), machine.records()))


@pytest.fixture(scope="module")
def stretched(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """The same run by a clock that ticks ten times as fast."""
    return summarise(synthetic.write(tmp_path_factory.mktemp("stretched"), machine.records(scale_s=10.0)))


REQUESTS = st.builds(
    Request,
    tasks=st.integers(1, 50_000),
    seconds=st.floats(1e-3, 30),
    kind=st.sampled_from(["sleep", "spin", "crunch"]),
    payload_bytes=st.sampled_from([0.0, 2e5, 1e7]),
    workers=st.sampled_from([None, 1, 2, 8]),
    cold=st.booleans(),
)
CASES = [
    (tasks, seconds, kind, payload)
    for tasks in (10, 100, 400)
    for seconds in (0.002, 0.05, 0.5)
    for kind in ("sleep", "spin")
    for payload in (0.0, 2e5)
    if tasks * seconds <= 20
]


@pytest.fixture(scope="module")
def with_gather(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """The same machine with an event loop beside threads, whose records have one worker."""
    records = machine.records(RUNNERS[:2], machine.QUICK)
    loop = [replace(r, role="arm") for r in machine.records([machine.GATHER], machine.QUICK, workers=1)]
    folder = synthetic.write(tmp_path_factory.mktemp("gather"), [*records, *loop])
    names = ("threads", "control", "sequential", "gather")
    traits = {name: before(name, name, False) for name in ("threads", "control")}
    traits |= {"control": traits["threads"], "sequential": before("none", "sequential", False)}
    traits |= {"gather": ArmTraits(rank=5, slots_share_gil=True, event_loop=True, caveat="one at a time")}
    plan = RunPlan("simulated", "full", names, 7, 2, "threads", "pytest", "2026-11-23T01:00:00Z", traits=traits)
    run_plan.write(folder, plan)
    return summarise(folder)


@pytest.mark.parametrize("workers", [None, 2])
def test_an_event_loop_leads_for_many_tasks_that_wait_and_has_no_slots_to_choose(
    with_gather: Summary, workers: int | None
) -> None:
    answer = choose(with_gather, Request(500, 0.3, "sleep", workers=workers))
    gather = next(arm for arm in answer.ranked if arm.arm == "gather")
    assert (gather.leads, gather.has_slots, gather.slots) == (True, False, 500)
    assert words.placed(gather) == "gather"
    assert "event loop" in words.WHY[gather.bottleneck]
    assert 1 not in answer.measured_workers
    assert {arm.arm for arm in choose(with_gather, Request(30, 2.0, "crunch")).leaders} == {"threads"}


def times(summary: Summary, request: Request) -> dict[str, float]:
    return {found.arm.name: time_s(found, request) for found in candidates(summary, request.cold)}


@pytest.mark.slow
def test_the_truly_fastest_arm_leads_nearly_always(summary: Summary) -> None:
    right = 0
    for tasks, seconds, kind, payload in CASES:
        truth = machine.fastest(RUNNERS, lambda c=(tasks, seconds, kind, payload): independent(*c))
        best = min(truth, key=lambda name: truth[name])
        leaders = [arm.arm for arm in choose(summary, Request(tasks, seconds, kind, payload)).leaders]
        right += best in leaders and truth[leaders[0]] <= 1.15 * truth[best]
    assert right >= 0.95 * len(CASES)


@settings(max_examples=60, deadline=None)
@given(REQUESTS, st.integers(1, 10_000), st.floats(0, 1e8), st.floats(0, 10))
def test_more_never_costs_less(summary: Summary, request_: Request, tasks: int, payload: float, seconds: float) -> None:
    base = times(summary, request_)
    for more in (
        replace(request_, tasks=request_.tasks + tasks),
        replace(request_, payload_bytes=request_.payload_bytes + payload),
        replace(request_, seconds=request_.seconds + seconds),
    ):
        grown = times(summary, more)
        assert all(grown[arm] >= base[arm] * (1 - 1e-9) for arm in base)


@settings(max_examples=60, deadline=None)
@given(REQUESTS)
def test_a_cold_start_never_costs_less(summary: Summary, request_: Request) -> None:
    base = times(summary, request_)
    cold = times(summary, replace(request_, cold=True))
    assert all(cold[arm] >= base[arm] * (1 - 1e-9) for arm in base)


@settings(max_examples=25, deadline=None)
@given(REQUESTS)
def test_the_ranking_does_not_depend_on_the_unit_of_time(
    summary: Summary, stretched: Summary, request_: Request
) -> None:
    ours = times(summary, request_)
    theirs = times(stretched, replace(request_, seconds=request_.seconds * 10))
    for arm, seconds in ours.items():
        assert theirs[arm] == pytest.approx(10 * seconds, rel=0.03)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(REQUESTS)
def test_every_answer_holds_together(summary: Summary, request_: Request) -> None:
    answer = choose(summary, request_)
    assert {arm.arm for arm in answer.ranked} == {runner.name for runner in RUNNERS}
    assert all(arm.low <= arm.seconds <= arm.high for arm in answer.ranked)
    assert [arm.leads for arm in answer.ranked] == sorted((arm.leads for arm in answer.ranked), reverse=True)
    assert min(answer.ranked, key=lambda arm: arm.seconds).leads
    behind = [arm.seconds for arm in answer.ranked if not arm.leads]
    assert behind == sorted(behind)
    assert all(arm.efficiency is None or 0 < arm.efficiency <= 1 for arm in answer.ranked)
    assert json.loads(words.to_json(answer))["headline"] == words.headline(answer)
    assert all(line.endswith(".") for line in (*words.reasons(answer), *words.beyond_time(answer), *answer.cautions))


def test_a_tie_names_the_simpler_arm_first(summary: Summary) -> None:
    answer = choose(summary, Request(200, 20.0, "sleep"))
    assert len(answer.leaders) > 1
    assert answer.leaders[0].arm == "threads"
    assert words.headline(answer).startswith("Take threads with 200 slots: ")
    assert words.headline(answer).endswith("As fast within this run's noise: lean-threads with 200 slots.")
    assert answer.changes, "somewhere the tie ends"


def test_tasks_that_wait_get_many_threads_and_tasks_that_compute_the_cores(summary: Summary) -> None:
    waiting = {arm.arm: arm for arm in choose(summary, Request(2000, 0.3, "sleep")).ranked}
    computing = {arm.arm: arm for arm in choose(summary, Request(2000, 0.3, "spin")).ranked}
    assert waiting["threads"].slots >= 32
    assert waiting["threads"].seconds < 0.1 * 2000 * 0.3 / 2
    assert {arm.slots for arm in computing.values() if arm.engine != "none"} == {machine.CORES}
    assert computing["lean-dask"].seconds < 0.7 * computing["threads"].seconds


def test_a_machine_that_is_not_this_one(summary: Summary) -> None:
    """500 CPU tasks of 2 s: half an hour on one core, two minutes on eight."""
    here, there = (choose(summary, Request(500, 2.0, "spin", cores=cores)) for cores in (None, 8))
    assert here.ranked[0].seconds == pytest.approx(500, rel=0.15)
    assert there.ranked[0].seconds == pytest.approx(125, rel=0.2)
    assert there.ranked[0].slots == 8
    assert all(arm.bottleneck != "gil" for arm in there.ranked if arm.engine not in ("threads", "none"))


def test_where_the_answer_changes_it_truly_does(summary: Summary) -> None:
    request = Request(500, 0.2, "spin")
    answer = choose(summary, request)
    assert answer.leaders[0].arm == "lean-dask"
    change = next(c for c in answer.changes if c.what == "seconds" and c.below)
    below = choose(summary, replace(request, seconds=change.at / 1.5))
    above = choose(summary, replace(request, seconds=change.at * 1.5))
    assert below.ranked[0].arm == change.arm != "lean-dask"
    assert above.ranked[0].arm == "lean-dask"
    assert any("changes under about" in line for line in words.reasons(answer))


def test_a_cold_start_can_change_the_answer(summary: Summary) -> None:
    warm, cold = (choose(summary, Request(40, 0.1, "spin", cold=cold)) for cold in (False, True))
    assert warm.leaders[0].arm == "lean-dask"
    assert cold.leaders[0].engine in ("none", "threads")
    assert any(change.what == "startup" for change in warm.changes)


def test_an_advised_batch_is_truly_faster(summary: Summary) -> None:
    request = Request(600, 0.004, "spin")
    batch = choose(summary, request).batch
    assert batch is not None
    runner = next(runner for runner in RUNNERS if runner.name == batch.arm)
    tasks = -(-600 // batch.size)
    together, _, _ = machine.makespan_s(runner, independent(tasks, 0.004 * 600 / tasks, "spin"))
    alone = min(machine.fastest(RUNNERS, lambda: independent(600, 0.004, "spin")).values())
    assert together < alone
    assert batch.seconds == pytest.approx(together, rel=0.25)
    assert choose(summary, Request(600, 5.0, "sleep")).batch is None


def test_what_was_not_measured_is_said(summary: Summary) -> None:
    def said(request: Request) -> str:
        return " ".join(choose(summary, request).cautions)

    assert "8 workers are more than the 2 that were measured" in said(Request(10, 0.1, workers=8))
    assert "1 worker, predicted by the model: 2 were measured" in said(Request(10, 0.1, workers=1))
    assert "5000 tasks (measured up to 145)" in said(Request(5000, 0.1))
    assert "20 s (measured up to 0.5 s)" in said(Request(10, 20.0)).replace("500 ms", "0.5 s")
    assert "1 GB of payload" in said(Request(100, 0.1, payload_bytes=1e7))
    assert "left out of the fit" in said(Request(10, 0.1))


def test_a_kind_and_a_payload_that_were_not_measured_are_said(tmp_path: Path) -> None:
    cells = [c for c in machine.FULL if c[0] == "overhead"]
    bare = summarise(synthetic.write(tmp_path, machine.records(cells=cells, blocks=1)))
    answer = choose(bare, Request(10, 1.0, "spin", 1e5))
    assert "no spin tasks" in " ".join(answer.cautions)
    assert "no payload" in " ".join(answer.cautions)
    assert "one block" in " ".join(answer.cautions)
    assert {a.arm: a.seconds for a in answer.ranked}["threads"] > 9, "threads are taken to be held by the GIL"
    with pytest.raises(CannotChoose, match="startup suite"):
        choose(bare, Request(10, 1.0, cold=True))


def test_a_run_that_tells_little_is_told_so(tmp_path: Path) -> None:
    noisy = summarise(synthetic.write(tmp_path, machine.records(blocks=1, noise=1.0)))
    answer = choose(noisy, Request(200, 0.3))
    assert answer.cautions[0].startswith("This run tells little")
    fastest = min(arm.seconds for arm in answer.ranked)
    assert all(arm.seconds <= LARGEST_TIE * fastest for arm in answer.leaders)


def test_a_run_without_two_widths_says_which_command_makes_one(tmp_path: Path) -> None:
    records = machine.records(cells=[machine.FULL[1]], blocks=1)
    with pytest.raises(CannotChoose, match="runner-lab run --profile quick"):
        choose(summarise(synthetic.write(tmp_path, records)), Request(10, 1.0))


def test_the_map_agrees_with_the_answers(summary: Summary) -> None:
    found = atlas.maps(summary)
    assert [(m.cold, m.kind) for m in found] == [(True, "sleep"), (True, "spin"), (False, "sleep"), (False, "spin")]
    for drawn in found:
        for row, column in ((8, 16), (32, 45), (56, 70)):
            request = Request(int(drawn.tasks[column]), float(drawn.durations_s[row]), drawn.kind, cold=drawn.cold)
            predicted = times(summary, request)
            first = drawn.models[int(drawn.first[row, column])]
            assert predicted[first.arm.name] <= AS_GOOD * min(predicted.values()) * (1 + 1e-9)
            assert first.arm.label == choose(summary, request).ranked[0].arm
        assert sum(share for share, _ in drawn.shares()) == pytest.approx(1)
        assert (drawn.tie < 0).any()
        assert (drawn.tie > 0).any()
    pays = found[1].pays_from(1000)
    assert pays is not None
    assert 0.005 < pays < 0.1


def test_who_has_no_slots_stands_beside_others_in_what_was_checked(with_gather: Summary) -> None:
    """No runner has 250 ms tasks done at once in one slot."""
    table = tables.checked(with_gather)
    assert table is not None
    work = [row[0].text for row in table.rows]
    assert all(text.endswith((", 2 slots", ", 32 slots")) for text in work), work
    assert len(set(work)) == len(work)
    assert "gather" in {row[1].text for row in table.rows}
