"""The split of a task's time: every instant belongs to one stage, on the same clock readings."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner_lab.benchmarks.measuring.task_stages import SECTION, TaskWindow, account, task_stages_of
from runner_lab.benchmarks.profiles import PROFILES
from runner_lab.flows.graph.wiring import Outcome
from runner_lab.records.task_stages import ABSORBERS, STAGES
from runner_lab.runners.probe.points import POINTS
from runner_lab.runners.probe.schedule import ProbeRecording, Schedule
from runner_lab.runners.probe.spans import Span

DRIVER, WORKER = 1, 2
WINDOW = TaskWindow(100.0, 101.0, 110.0)


def span(stage: str, begin_s: float, end_s: float, pid: int = WORKER, thread: int = 7) -> Span:
    return Span(stage, pid, thread, begin_s, end_s)


REMOTE = (
    span("serialize", 100.2, 100.7, pid=DRIVER),
    span("unpickle", 102.0, 102.5, thread=8),
    span("task", 103.0, 108.0),
    span("hydrate", 103.0, 105.0),
    span("client", 104.0, 104.5),
    span("client", 105.5, 106.0),
    span("body", 106.5, 107.0),
)


def test_a_remote_task_is_split_at_its_boundaries():
    split = account(WINDOW, REMOTE, DRIVER)

    assert split == pytest.approx(
        {
            "submit": 0.5,
            "serialize": 0.5,
            "queue": 1.5,
            "hydrate": 2.0,
            "client": 1.0,
            "engine": 2.0,
            "body": 0.5,
            "result": 2.0,
        }
    )


def test_a_task_that_begins_before_submit_returns_is_counted_once():
    split = account(TaskWindow(0.0, 3.0, 4.0), (span("task", 1.0, 3.5, pid=DRIVER),), DRIVER)

    assert split == pytest.approx(dict.fromkeys(STAGES, 0.0) | {"submit": 1.0, "engine": 2.5, "result": 0.5})


def test_pickling_in_another_thread_after_submit_is_no_queue():
    spans = (span("serialize", 101.5, 102.0, pid=DRIVER, thread=9), span("task", 103.0, 108.0))

    split = account(WINDOW, spans, DRIVER)

    assert (split["submit"], split["serialize"], split["queue"]) == pytest.approx((1.0, 0.5, 1.5))


def test_what_other_threads_of_the_worker_do_meanwhile_is_not_the_tasks():
    noise = (span("client", 106.0, 107.5, thread=9), span("unpickle", 106.0, 109.0, thread=9))

    assert account(WINDOW, (*REMOTE, *noise), DRIVER) == account(WINDOW, REMOTE, DRIVER)


def test_a_window_without_a_task_is_none():
    assert account(WINDOW, (span("task", 90.0, 99.0), span("body", 105.0, 106.0)), DRIVER) is None


_TIMES = st.floats(0, 10, allow_nan=False)
_SPANS = st.builds(
    lambda stage, pid, thread, a, b: Span(stage, pid, thread, min(a, b), max(a, b)),
    st.sampled_from(["serialize", "unpickle", "hydrate", "client", "body", "task"]),
    st.sampled_from([DRIVER, WORKER]),
    st.sampled_from([7, 8]),
    _TIMES,
    _TIMES,
)


@given(st.lists(_SPANS, max_size=12), st.tuples(_TIMES, _TIMES, _TIMES).map(sorted))
def test_stages_add_up_to_the_drivers_own_time_whatever_the_spans(spans, times):
    split = account(TaskWindow(*times), spans, DRIVER)

    if split is not None:
        assert set(split) == set(STAGES)
        assert min(split.values()) >= 0
        assert math.isclose(sum(split.values()), times[2] - times[0], abs_tol=1e-9)


@dataclass(frozen=True)
class RecordedSchedule(Schedule):
    """A schedule whose probes have seen `spans`."""

    spans: ClassVar[tuple[Span, ...]] = ()
    moved: ClassVar[frozenset[str]] = frozenset()

    def recording(self) -> ProbeRecording:
        return ProbeRecording(DRIVER, type(self).spans, type(self).moved)


@pytest.fixture
def chain():
    """A chain of three sections; every task takes a second, a probed one half a second more."""
    schedule = type("Fresh", (RecordedSchedule,), {})("", "dask", SECTION)
    lanes = range(3 * SECTION)
    took = [1.5 if schedule.on(lane) else 1.0 for lane in lanes]
    outcome = Outcome()
    outcome.submits_s = [10.0 * lane for lane in lanes]
    outcome.returns_s = [10.0 * lane + 0.1 for lane in lanes]
    outcome.seen_s = {lane: 10.0 * lane + took[lane] for lane in lanes}
    type(schedule).spans = tuple(span("task", 10.0 * n + 0.2, 10.0 * n + 0.9) for n in lanes if schedule.on(n))
    return outcome, schedule


def test_only_judged_tasks_count_on_either_side(chain):
    found = task_stages_of(*chain)

    assert found.probed_s == pytest.approx([1.5] * (SECTION - 1))
    assert found.unprobed_s == pytest.approx([1.0] * 2 * (SECTION - 1))
    assert found.stages_s == pytest.approx(
        dict.fromkeys(STAGES, 0.0) | {"submit": 0.1, "queue": 0.1, "engine": 0.7, "result": 0.6}
    )


def test_a_task_whose_beginning_was_not_seen_is_left_out(chain):
    outcome, schedule = chain
    type(schedule).spans = type(schedule).spans[:-1]

    assert len(task_stages_of(outcome, schedule).probed_s) == SECTION - 2


def test_a_chain_that_no_probe_saw_has_no_tax(chain):
    outcome, schedule = chain
    type(schedule).spans = ()

    assert task_stages_of(outcome, schedule) is None


@pytest.mark.parametrize("stage", sorted({point.stage for point in POINTS}))
def test_a_stage_that_moved_is_not_told_and_neither_are_those_that_swallow_it(chain, stage):
    outcome, schedule = chain
    type(schedule).moved = frozenset({stage})

    told = task_stages_of(outcome, schedule).stages_s

    assert told.keys() == set(STAGES) - set(ABSORBERS[stage])


@pytest.mark.parametrize("name", ["lean", "full"])
def test_chains_end_with_the_probe_off(name):
    for graph in PROFILES[name].suites["task_stages"]:
        schedule = Schedule("", "dask", SECTION)
        assert graph.width % SECTION == 0
        assert not schedule.on(graph.width - 1)
