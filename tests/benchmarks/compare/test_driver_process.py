"""A user's flow in a process of its own, on the suite's server: what one arm leaves, no other one finds."""

from __future__ import annotations

import functools
import os
import shutil
import sys
import time
from pathlib import Path

import psutil
import pytest
from prefect_lean import forking

from runner_lab.benchmarks.compare import user_runs
from runner_lab.benchmarks.compare.agreement import Agreement
from runner_lab.benchmarks.compare.driver_process import Drivers
from runner_lab.benchmarks.compare.user_flow import load
from runner_lab.benchmarks.measuring import measure
from runner_lab.benchmarks.session.plan import PlannedCell, Stage
from runner_lab.benchmarks.session.stages import Limits
from runner_lab.runners.isolation import guard

pytestmark = pytest.mark.slow

FLOWS = Path(__file__).parents[2] / "user_flows"


@pytest.fixture
def compare(arms, lab_server, tmp_path_factory, monkeypatch):
    """The records of a flow: in each block one under each arm, each in its process."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    up, made = [], []

    def run(target, *given, under=("yours",), limit_s=120.0, blocks=1):
        scratch = guard.new_scratch()
        made.append(scratch)
        user = load(str(FLOWS / target), given, scratch)
        catalog = arms.with_yours(user.flow.task_runner)
        agreement = Agreement(True, alike=("yours", "control"))

        def warm(cell, site):
            user_runs.warm_up(cell, site, agreement)

        drivers = Drivers(user, catalog, lab_server, scratch, Limits(limit_s, 60.0), warm)
        up.append(drivers)
        records = []
        for block in range(blocks):
            for position, name in enumerate(under):
                arm = catalog.arms[name] if catalog.arms[name].as_declared else catalog.arms[name].with_workers(2)
                cell = PlannedCell("compare", user.spec, arm, block, Stage(name, 2), baseline="yours")
                blank = measure.blank_record(cell, "run", {})
                body = functools.partial(user_runs.measure_flow, agreement=agreement)
                records.append(measure.measure(cell, position, drivers.ready, blank, body))
        return records

    yield run
    for drivers in up:
        drivers.close()
    for scratch in made:
        shutil.rmtree(scratch, ignore_errors=True)


@pytest.mark.skipif(not forking.AVAILABLE, reason="processes are forked on Linux, before Python 3.14")
def test_processes_of_all_passes_come_from_one_that_has_imported_prefect(compare, tmp_path):
    """A pass with settings of its own would import Prefect again, and be measured with it."""
    records = compare("comes_from.py", f"folder={tmp_path}", under=("yours", "lean-processes"), blocks=2)
    assert {record.status for record in records} == {"ok"}
    assert len({path.name for path in tmp_path.iterdir()} - {str(os.getpid())}) == 1


@pytest.mark.long
def test_what_the_flow_leaves_behind_is_not_found_under_another_runner(compare):
    records = compare("leaves_behind.py", under=("yours", "lean-threads", "processes"), blocks=2)

    assert [(r.arm, r.status, r.error) for r in records if r.status != "ok"] == []
    assert {r.flow_run.result for r in records} == {"same"}
    assert "LEFT_BY" not in os.environ


def test_each_runner_says_what_it_says_alone(compare):
    records = compare("sets_environment.py", under=("yours", "dask"))

    assert [(r.status, r.flow_run.result) for r in records] == [("ok", "same"), ("error", "different")]
    assert records[1].error == "another result: at [0]: NoneType None, but 'word' under yours"


@pytest.mark.parametrize("arm", ["yours", "processes", "dask", "ray"])
def test_a_pass_over_its_limit_is_stopped_at_its_time_with_all_that_it_has_started(compare, descendants, arm):
    before = descendants()

    begun_s = time.monotonic()
    (record,) = compare("one_long_task.py", under=(arm,), limit_s=8.0)

    assert record.status == "error"
    assert record.error == "TimeoutError: not done after 8 s (--cell-timeout), and stopped"
    assert time.monotonic() - begun_s < 110, "the task itself takes two minutes"
    left = [process for process in descendants() - before if not guard.is_guard(process)]
    assert [process for process in left if guard.runs(process)] == []


def test_tasks_that_wait_for_tasks_of_a_full_pool_are_stopped_too(compare):
    (record,) = compare("nested_submits.py:deep", under=("lean-processes",), limit_s=8.0)

    assert record.status == "ok" or "--cell-timeout" in record.error


def test_the_usage_is_that_of_the_flows_process(compare):
    (record,) = compare("etl_map.py:etl", "n=20")

    assert record.status == "ok"
    assert 0 < record.usage.driver_cpu_s < record.value_s * 2 + 1
    assert record.usage.driver_rss_bytes != psutil.Process().memory_info().rss
    assert record.usage.server_cpu_s is not None


def test_a_process_that_ends_in_the_middle_is_an_error_that_says_how(compare, tmp_path):
    (tmp_path / "ends.py").write_text(
        "import os\n\nfrom prefect import flow\n\n\n@flow\ndef ends():\n    os._exit(7)\n"
    )
    (record,) = compare(str(tmp_path / "ends.py"))

    assert record.error == "the flow's process ended while it ran the flow: exit code 7"


def test_a_result_that_cannot_be_pickled_is_not_compared(compare, tmp_path):
    (tmp_path / "locks.py").write_text(
        "import threading\n\nfrom prefect import flow\n\n\n@flow\ndef locks():\n    return threading.Lock()\n"
    )
    (record,) = compare(str(tmp_path / "locks.py"))

    assert (record.status, record.flow_run.result) == ("ok", "unchecked")
    told = "its result, a lock, cannot be pickled (TypeError: cannot pickle '_thread.lock' object)"
    assert record.flow_run.remark == told
