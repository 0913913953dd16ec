"""The probe on every engine for real; wrapped while it is on, and nothing left of it while it is off."""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import sys
import threading
import time
from dataclasses import replace
from types import ModuleType

import pytest

from runner_lab.benchmarks.measuring.task_stages import SECTION, task_stages_of
from runner_lab.flows.graph.ledger import Ledger
from runner_lab.records.graph import GraphSpec
from runner_lab.records.task_stages import STAGES
from runner_lab.runners.probe import points as probe_points
from runner_lab.runners.probe import schedule as probe
from runner_lab.runners.probe.points import POINTS, Point
from runner_lab.runners.probe.schedule import Schedule, Switch
from runner_lab.runners.probe.spans import SpanFile, read_spans

WORKERS = 2
SECTIONS = 5
ARMS = [
    *("sequential", "threads", "lean-threads", "processes", "lean-processes"),
    *("dask", "lean-dask", "ray", "lean-ray"),
]
MODULE = "boundary"


@pytest.fixture
def boundary(monkeypatch) -> ModuleType:
    """A module with one function to time, and that function as the only point."""
    module = ModuleType(MODULE)
    exec("def step():\n    return 1\n", module.__dict__)
    monkeypatch.setitem(sys.modules, MODULE, module)
    monkeypatch.setattr(probe_points, "digest_of", lambda qualified_name: "this one")
    monkeypatch.setattr(probe, "POINTS", (Point("client", MODULE, "step", ("an older one", "this one")),))
    monkeypatch.setattr(probe, "_probe", probe._Probe())
    return module


def test_wraps_while_it_is_on_and_puts_the_very_function_back(boundary, tmp_path):
    original = boundary.step
    schedule = Schedule(str(tmp_path), "threads", section=2)

    with schedule:
        schedule(0)
        assert boundary.step is original
        schedule(2)
        assert boundary.step is not original
        begin_s = time.monotonic()
        assert boundary.step() == 1
        end_s = time.monotonic()
        schedule(3)
        assert boundary.step.__wrapped__ is original
        schedule(4)
        assert boundary.step is original
        boundary.step()

    (span,) = schedule.recording().spans
    assert (span.stage, span.pid, span.thread) == ("client", os.getpid(), threading.get_ident())
    assert begin_s <= span.begin_s <= span.end_s <= end_s


def test_a_chain_that_ends_badly_leaves_the_probe_off(boundary, tmp_path):
    original = boundary.step
    schedule = Schedule(str(tmp_path), "threads", section=1)

    def chain() -> None:
        with schedule:
            schedule(1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        chain()

    assert boundary.step is original


def test_a_function_that_has_changed_is_left_alone_and_its_stage_reported(boundary, tmp_path, monkeypatch):
    original = boundary.step
    monkeypatch.setattr(probe, "POINTS", tuple(replace(point, tested=("another one",)) for point in probe.POINTS))
    schedule = Schedule(str(tmp_path), "threads", section=1)

    with schedule:
        schedule(1)
        assert boundary.step is original

    assert schedule.recording().moved == {"client"}


def test_a_function_that_is_gone_is_reported(boundary, tmp_path):
    del boundary.step
    schedule = Schedule(str(tmp_path), "threads", section=1)

    with schedule:
        schedule(1)

    assert schedule.recording().moved == {"client"}


def test_an_engine_that_is_not_in_use_is_not_reported(boundary, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, MODULE)
    schedule = Schedule(str(tmp_path), "threads", section=1)

    with schedule:
        schedule(1)

    assert schedule.recording().moved == frozenset()


def test_what_a_killed_process_was_writing_is_no_span(tmp_path):
    pid = os.fork()
    if not pid:
        spans = SpanFile(str(tmp_path), capacity=2)
        for begin_s in (1.0, 2.0, 3.0):
            spans.note("task", begin_s, begin_s + 0.5)
        # All of a record but its first byte.
        part, _ = spans._part
        part[25:50] = b"\0" + b"x" * 24
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)

    found = [(span.stage, span.pid, span.begin_s, span.end_s) for span in read_spans(str(tmp_path))]
    assert found == [("task", pid, begin_s, begin_s + 0.5) for begin_s in (1.0, 2.0, 3.0)]


def test_a_function_that_is_imported_in_mid_section_is_timed_from_the_next_mark_on(boundary, tmp_path, monkeypatch):
    late = ModuleType(f"{MODULE}_late")
    exec("def step():\n    return 1\n", late.__dict__)
    monkeypatch.setattr(probe, "POINTS", (*probe.POINTS, replace(probe.POINTS[0], module=late.__name__, tested=())))
    schedule = Schedule(str(tmp_path), "threads", section=2)

    with schedule:
        schedule(2)
        monkeypatch.setitem(sys.modules, late.__name__, late)
        original = late.step
        schedule(3)
        assert boundary.step.__wrapped__ is not original
        assert late.step.__wrapped__ is original
        schedule(4)
        assert late.step is original


def test_a_mark_unpickled_in_its_own_process_changes_nothing(boundary, tmp_path):
    original = boundary.step
    mark = Switch(str(tmp_path), "threads", True, os.getpid())

    assert pickle.loads(pickle.dumps(mark)) == mark
    assert boundary.step is original


def test_a_worker_forgets_the_probe_with_the_first_task_that_brings_no_mark(boundary, tmp_path):
    original, here = boundary.step, probe._probe
    pickle.loads(pickle.dumps(Switch(str(tmp_path), "dask", True, os.getpid() + 1)))

    with here._task():
        pass
    assert boundary.step is not original
    with here._task():
        pass
    assert boundary.step is original


def test_every_function_it_leans_on_is_the_one_that_was_tested():
    for point in POINTS:
        if "*" not in point.module:
            importlib.import_module(point.module)
    from prefect_lean import shipping

    shipping.package()
    moved = [
        target for point in POINTS for target in point.attributes() or [None] if target is None or target.moved(point)
    ]

    assert moved == []


@pytest.mark.slow
@pytest.mark.usefixtures("lab_server")
@pytest.mark.parametrize("name", ARMS)
def test_splits_the_time_of_real_tasks(name, arms, cluster_for, scratch, tmp_path):
    from runner_lab.flows.graph.chain import chain

    (arm,) = arms.select([name], WORKERS)
    graph = GraphSpec("chain", width=SECTIONS * SECTION)
    flow = chain
    if not arm.direct:
        flow = chain.with_options(task_runner=arms.engine(arm).task_runner(arm, cluster_for(arm), scratch))
    before = [target for point in POINTS for target in point.attributes()]
    originals = [target.current() for target in before]

    with Schedule(str(tmp_path), arm.engine, SECTION) as schedule:
        outcome = flow(graph, str(tmp_path), schedule, direct=arm.direct)
    found = task_stages_of(outcome, schedule)

    assert outcome.result == graph.result
    assert len(Ledger(tmp_path).entries()) == graph.executions
    assert found is not None
    assert found.stages_s.keys() == set(STAGES)
    # Most of the tasks were seen whole, whichever worker they ran in.
    probed, unprobed = SECTIONS // 2 * (SECTION - 1), (SECTIONS // 2 + 1) * (SECTION - 1)
    assert len(found.unprobed_s) == unprobed
    assert probed / 2 <= len(found.probed_s) <= probed
    # The stages add up to what the driver measured, on the same clock readings.
    assert sum(found.stages_s.values()) == pytest.approx(sum(found.probed_s) / len(found.probed_s), abs=1e-6)
    assert sum(found.probed_s) + sum(found.unprobed_s) < outcome.done_s - outcome.begun_s
    # A body that writes one line is inside its task, as its own clock says too.
    assert found.stages_s["body"] > 0
    assert found.stages_s["engine"] > 0
    if arm.engine in ("none", "threads"):
        assert found.stages_s["serialize"] == 0
    else:
        assert found.stages_s["serialize"] > 0
        assert found.stages_s["hydrate"] > 0
    if arm.engine != "none" and not arm.lean:
        assert found.stages_s["client"] > 0
    assert [target.current() for target in before] == originals
