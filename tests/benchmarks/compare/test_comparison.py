"""What a comparison remembers over a resume, and what it leaves behind: passes and a server that are made up."""

from __future__ import annotations

import functools
import sys
from contextlib import contextmanager
from unittest.mock import Mock

import pytest

from runner_lab.benchmarks.compare import user_runs
from runner_lab.benchmarks.compare.agreement import Agreement
from runner_lab.benchmarks.compare.compare import SUITE, FlowRequest, UserFlow, run
from runner_lab.benchmarks.measuring import measure, quiescence
from runner_lab.benchmarks.measuring.measure import Site, blank_record
from runner_lab.benchmarks.measuring.quiescence import Settled
from runner_lab.benchmarks.measuring.server_runs import UnansweredError
from runner_lab.benchmarks.profiles import Profile
from runner_lab.benchmarks.session.options import Options
from runner_lab.benchmarks.session.plan import PlannedCell, Stage
from runner_lab.benchmarks.session.run_folder import RunFolder
from runner_lab.benchmarks.session.session import Session
from runner_lab.records.graph import UserFlowSpec
from runner_lab.records.record import FlowRun
from runner_lab.records.run_plan import RunPlan
from runner_lab.runners import catalog
from runner_lab.runners.server import Server

PLAN = RunPlan(
    "r", "compare", ("threads", "control", "dask"), 1, 2, "threads", "runner-lab", "2026-01-01T00:00:00+00:00"
)
SPEC = UserFlowSpec(name="etl")
SETTLED = Settled({"Completed": 1}, 0, 0.5, "Completed", "")


@pytest.fixture
def cells():
    """One block of a flow under threads, the control and Dask."""
    arms = catalog.load().arms
    return [PlannedCell("compare", SPEC, arms[name].with_workers(2), 0, Stage(name, 2)) for name in PLAN.arms]


@pytest.fixture
def site(tmp_path):
    return Site(Server("http://127.0.0.1:1/api", "sqlite"), Mock(), None, tmp_path, limit_s=60.0, quiet_limit_s=60.0)


@pytest.fixture
def passes(monkeypatch):
    """The arm and the storage of each pass. What a flow returns, or raises, is by arm in `returned`."""
    made = Mock(arms=[], storages=[], returned={"threads": 4, "control": 4, "dask": 5})

    def run_pass(cell, site, user, storage):
        made.arms.append(cell.arm.name)
        made.storages.append(storage)
        assert storage.is_dir()
        found = made.returned[cell.arm.name]
        seen = user_runs.DriverCounts(flow_run_id="id", begun=1, submitted=1)
        if isinstance(found, Exception):
            return user_runs.Passed(0.0, 1.0, seen, None, found)
        return user_runs.Passed(0.0, 1.0, seen, found)

    monkeypatch.setattr(user_runs, "run_pass", run_pass)
    monkeypatch.setattr(user_runs, "wait_settled", lambda *args, **more: SETTLED)
    monkeypatch.setattr(quiescence, "wait_still", lambda *args: None)
    return made


class MadeUp(UserFlow):
    """A flow that nobody has to import."""

    def profile(self, asked, resumed, scratch):
        self._loaded = Mock(spec=SPEC)
        return Profile("compare", PLAN.arms, 1, {"compare": (SPEC,)})


@pytest.fixture
def resumed(tmp_path, cells, site, passes, make_record, monkeypatch):
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
        flow = MadeUp(FlowRequest("etl.py", check_result=check_result))
        session = Session(flow, Options(resume=folder.path))
        session.release()
        session._folder, session._environment = RunFolder.resume(folder.path), {}
        session._interrupts, session._server, session._stages = Mock(), site.server, Mock()
        session.close = Mock()
        planned = session.order(session.cells(SUITE))

        @contextmanager
        def ready(cell):
            flow.warm_up(cell, site)
            yield site

        session._stages.ready = ready
        records = []
        run(session, flow, planned, records.append)
        return {record.arm: (record.status, record.flow_run.result, record.flow_run.remark) for record in records}

    return resume


SAME = ("same", "")
OTHER = ("different", "5, but 4 under threads")
IMPURE = ("unsteady", "two runs under threads alone differ already (3, but 4)")


def test_an_arm_that_differed_differs_again_in_the_run_that_goes_on(resumed, passes):
    found = resumed({"threads": SAME, "control": SAME, "dask": OTHER})

    assert found["dask"] == ("error", *OTHER)
    assert passes.arms == ["threads", "dask", "dask"], "the reference, the warm-up and the cell"


def test_a_run_with_nothing_left_runs_nothing(resumed, passes):
    assert resumed(dict.fromkeys(PLAN.arms, SAME))["dask"] == ("ok", *SAME)
    assert passes.arms == []


def test_a_run_whose_results_nobody_compares_needs_no_reference(resumed, passes):
    found = resumed({"threads": ("unasked", "")}, check_result=False)

    assert found["control"] == ("ok", "unasked", "")
    assert passes.arms[0] == "control"


def test_a_flow_that_disagreed_with_itself_does_so_in_the_run_that_goes_on(resumed, passes):
    found = resumed({"threads": IMPURE, "control": IMPURE})

    assert found["dask"] == ("ok", *IMPURE)
    assert "threads" not in passes.arms


def test_without_a_reference_nothing_is_compared(resumed, passes):
    passes.returned["threads"] = ZeroDivisionError("division by zero")

    found = resumed({"threads": SAME, "control": SAME})

    reason = "threads gave no result to compare with: ZeroDivisionError: division by zero"
    assert found["dask"] == ("ok", "unchecked", reason)


def measured(cell, site):
    @contextmanager
    def ready(cell):
        yield site

    agreement = Agreement(True, alike=("threads", "control"))
    body = functools.partial(user_runs.measure_flow, user=Mock(), agreement=agreement)
    return measure.measure(cell, 0, ready, blank_record(cell, "run", {}), body)


def test_what_a_pass_persists_is_gone_once_its_result_is_judged(cells, site, passes):
    record = measured(cells[0], site)
    user_runs.warm_up(cells[0], site, Mock(), Agreement(True, alike=()))

    assert (record.status, record.flow_run.result, record.visibility_lag_s) == ("ok", "same", 0.5)
    assert len(passes.storages) == 2
    assert not any(storage.exists() for storage in passes.storages)


def test_a_server_that_does_not_answer_leaves_what_was_measured(cells, site, passes, monkeypatch):
    monkeypatch.setattr(user_runs, "wait_settled", Mock(side_effect=UnansweredError("no answer")))

    record = measured(cells[0], site)
    assert (record.status, record.error, record.value_s) == ("error", "no answer", 1.0)

    passes.returned["threads"] = ZeroDivisionError("division by zero")
    record = measured(cells[0], site)
    assert (record.status, record.error) == ("error", "ZeroDivisionError: division by zero")
