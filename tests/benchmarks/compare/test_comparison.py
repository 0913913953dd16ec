"""What a comparison remembers over a resume, and what it leaves behind: passes and a server that are made up."""

from __future__ import annotations

import functools
import pickle
import sys
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import Mock

import pytest

from runner_lab.benchmarks.compare import user_runs
from runner_lab.benchmarks.compare.agreement import Agreement
from runner_lab.benchmarks.compare.compare import SUITE, FlowRequest, UserFlow, run
from runner_lab.benchmarks.compare.user_runs import Counts, FlowSite, Passed
from runner_lab.benchmarks.measuring import measure, quiescence
from runner_lab.benchmarks.measuring.measure import blank_record
from runner_lab.benchmarks.measuring.quiescence import Settled
from runner_lab.benchmarks.measuring.server_runs import UnansweredError
from runner_lab.benchmarks.profiles import Profile
from runner_lab.benchmarks.session.options import Options, UsageError
from runner_lab.benchmarks.session.plan import PlannedCell, Stage
from runner_lab.benchmarks.session.run_folder import RunFolder
from runner_lab.benchmarks.session.session import Session
from runner_lab.records.graph import UserFlowSpec
from runner_lab.records.record import FlowRun
from runner_lab.records.run_plan import RunPlan
from runner_lab.runners import catalog
from runner_lab.runners.server import Server

PLAN = RunPlan(
    "r",
    "compare",
    ("yours", "control", "dask"),
    1,
    2,
    "yours",
    "runner-lab",
    "2026-01-01T00:00:00+00:00",
    slots={"yours": 0, "control": 0, "dask": 2},
)
SPEC = UserFlowSpec(name="etl")
SETTLED = Settled({"Completed": 1}, 0, 0.5, "Completed", "")


class ThreadPoolTaskRunner:
    """As far as the lab looks at the runner that a flow declares."""

    _max_workers = sys.maxsize


@pytest.fixture
def declared():
    """The catalog with the runner of a flow that declares none."""
    return catalog.load().with_yours(ThreadPoolTaskRunner())


@pytest.fixture
def cells(declared):
    """One block of a flow under its own runner, the control and Dask."""
    arms = {name: declared.arms[name] for name in PLAN.arms}
    arms["dask"] = arms["dask"].with_workers(2)
    return [PlannedCell("compare", SPEC, arms[name], 0, Stage(name, 2), baseline="yours") for name in PLAN.arms]


@pytest.fixture
def passes():
    """The arm of each pass. What a flow returns, or raises, is by arm in `returned`."""
    return Mock(arms=[], returned={"yours": 4, "control": 4, "dask": 5})


@pytest.fixture
def site_of(tmp_path, passes, monkeypatch):
    monkeypatch.setattr(user_runs, "wait_settled", lambda *args, **more: SETTLED)
    monkeypatch.setattr(quiescence, "wait_still", lambda *args: None)

    class Made:
        def __init__(self, arm):
            self.arm = arm

        def run(self, measured, judged):
            passes.arms.append(self.arm)
            found = passes.returned[self.arm]
            seen = Counts(flow_run_id="id", begun=1, submitted=1)
            if isinstance(found, Exception):
                return Passed(0.0, 1.0, seen, raised=measure.error_line(found))
            return Passed(0.0, 1.0, seen, pickle.dumps(found) if judged else b"")

    def site(arm):
        server = Server("http://127.0.0.1:1/api", "sqlite")
        return FlowSite(server, Mock(), None, tmp_path, 60.0, 60.0, Made(arm))

    return site


class MadeUpFlow(UserFlow):
    """A flow that nobody has to import."""

    def profile(self, asked, resumed, scratch):
        self._loaded = Mock(spec=SPEC, flow=Mock(task_runner=ThreadPoolTaskRunner()))
        return Profile("compare", PLAN.arms, 1, {"compare": (SPEC,)}, baseline="yours", suitable_slots=True)


@pytest.fixture
def resumed(tmp_path, cells, site_of, make_record, monkeypatch):
    """A comparison whose run was resumed: of `kept` arms there is a record, by name what was said of its result."""

    monkeypatch.chdir(tmp_path)
    # A session may be made though the suite has imported Prefect.
    monkeypatch.delitem(sys.modules, "prefect", raising=False)

    def resume(kept, check_result=True):
        folder = RunFolder.create(tmp_path / "run", PLAN)
        for cell in cells:
            if cell.arm.name in kept:
                result, remark = kept[cell.arm.name]
                status = "error" if result == "different" else "ok"
                folder.add(make_record(cell, status=status, flow_run=FlowRun({}, result=result, remark=remark)))
        flow = MadeUpFlow(FlowRequest("etl.py", check_result=check_result))
        session = Session(flow, Options(resume=folder.path))
        session.release()
        session._folder, session._environment = RunFolder.resume(folder.path), {}
        session._interrupts, session._server, session._stages = Mock(), site_of("yours").server, Mock()
        session.close = Mock()
        planned = session.order(session.cells(SUITE))
        warm = set()

        @contextmanager
        def ready(cell):
            site = site_of(cell.arm.name)
            if cell.arm.name not in warm:
                warm.add(cell.arm.name)
                user_runs.warm_up(cell, site, flow.agreement)
            yield site

        session._stages.ready = ready
        records = []
        run(session, flow, planned, records.append)
        return {record.arm: (record.status, record.flow_run.result, record.flow_run.remark) for record in records}

    return resume


SAME = ("same", "")
OTHER = ("different", "5, but 4 under yours")
IMPURE = ("unsteady", "two runs under yours alone differ already (3, but 4)")


def test_an_arm_that_differed_differs_again_in_the_run_that_goes_on(resumed, passes):
    found = resumed({"yours": SAME, "control": SAME, "dask": OTHER})

    assert found["dask"] == ("error", *OTHER)
    assert passes.arms == ["yours", "dask", "dask"], "the reference, the warm-up and the cell"


def test_a_run_with_nothing_left_runs_nothing(resumed, passes):
    assert resumed(dict.fromkeys(PLAN.arms, SAME))["dask"] == ("ok", *SAME)
    assert passes.arms == []


def test_a_run_whose_results_nobody_compares_needs_no_reference(resumed, passes):
    found = resumed({"yours": ("unasked", "")}, check_result=False)

    assert found["control"] == ("ok", "unasked", "")
    assert passes.arms[0] == "control"


def test_a_flow_that_disagreed_with_itself_does_so_in_the_run_that_goes_on(resumed, passes):
    found = resumed({"yours": IMPURE, "control": IMPURE})

    assert found["dask"] == ("ok", *IMPURE)
    assert "yours" not in passes.arms


def test_without_a_reference_nothing_is_compared(resumed, passes):
    passes.returned["yours"] = ZeroDivisionError("division by zero")

    found = resumed({"yours": SAME, "control": SAME})

    reason = "yours gave no result to compare with: ZeroDivisionError: division by zero"
    assert found["dask"] == ("ok", "unchecked", reason)


def test_a_run_that_was_compared_with_threads_is_not_gone_on_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "prefect", raising=False)
    before = replace(PLAN, arms=("threads", "control"), baseline="threads", slots={})
    earlier = RunFolder.create(tmp_path / "run", before)

    with pytest.raises(UsageError, match="its arms are compared with threads, and this lab compares with yours: start"):
        Session(MadeUpFlow(FlowRequest("etl.py")), Options(resume=earlier.path))


def measured(cell, site):
    @contextmanager
    def ready(cell):
        yield site

    body = functools.partial(user_runs.measure_flow, agreement=Agreement(True, alike=("yours", "control")))
    return measure.measure(cell, 0, ready, blank_record(cell, "run", {}), body)


def test_a_server_that_does_not_answer_leaves_what_was_measured(cells, site_of, passes, monkeypatch):
    record = measured(cells[0], site_of("yours"))
    assert (record.status, record.role, record.flow_run.result, record.visibility_lag_s) == (
        "ok",
        "baseline",
        "same",
        0.5,
    )

    monkeypatch.setattr(user_runs, "wait_settled", Mock(side_effect=UnansweredError("no answer")))

    record = measured(cells[0], site_of("yours"))
    assert (record.status, record.error, record.value_s) == ("error", "no answer", 1.0)

    passes.returned["yours"] = ZeroDivisionError("division by zero")
    record = measured(cells[0], site_of("yours"))
    assert (record.status, record.error) == ("error", "ZeroDivisionError: division by zero")
