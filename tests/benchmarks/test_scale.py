"""Very wide graphs: what is left out, what the server's log says, and one small pass over the whole path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner_lab.benchmarks.measuring import serving
from runner_lab.benchmarks.profiles import PROFILES
from runner_lab.benchmarks.session import forecast
from runner_lab.benchmarks.session.progress import Progress
from runner_lab.records import record as records
from runner_lab.records.graph import GraphSpec
from runner_lab.reports.analysis.summary import summarise

ROOT = Path(__file__).parents[2]
LOG = b"""18:20:01.1 | WARNING | prefect.server.utilities.messaging.memory - Subscription queue is full, dropping it
18:20:02.2 | ERROR   | prefect.server - Encountered retryable exception in request:
Traceback (most recent call last):
  File "aiosqlite/core.py", line 132, in _execute
    return await future
sqlite3.OperationalError: database is locked

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "sqlalchemy/engine/base.py", line 1967, in _exec_single_context
    self.dialect.do_execute(
sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) database is locked
[SQL: INSERT INTO task_run (...)]
18:20:03.3 | ERROR   | prefect.server - Encountered exception in request:
Traceback (most recent call last):
ValueError: something else
"""


@pytest.fixture
def wide(make_cell):
    return lambda width, block=0: make_cell("dask", block, GraphSpec(width=width), "scale")


def test_a_wide_cell_is_forecast_on_the_line_through_the_two_widest_before_it(wide, make_record):
    done = [make_record(wide(33), 20.0), make_record(wide(333), 200.0)]

    assert forecast.predicted_s(1900, done) == pytest.approx(200 + 900 * 0.2)
    assert forecast.predicted_s(1000, done[:1]) == pytest.approx(200)
    assert forecast.predicted_s(1000, []) is None


def test_what_would_take_more_than_half_the_limit_is_left_out_and_says_how_long(wide, make_record):
    done = [make_record(wide(33), 20.0), make_record(wide(333), 200.0)]

    assert forecast.too_long(wide(1667), done, limit_s=1000) == "would take about 17 min"
    assert forecast.too_long(wide(1667), done, limit_s=2100) is None
    assert forecast.too_long(wide(33), done, limit_s=1) is None


def test_other_arms_and_other_suites_foretell_nothing(wide, make_cell, make_record):
    others = [
        make_record(make_cell("ray", 0, GraphSpec(width=33), "scale"), 900.0),
        make_record(make_cell("dask", 0, GraphSpec(width=33), "overhead"), 900.0),
    ]

    assert forecast.too_long(wide(333), others, limit_s=10) is None


def test_what_failed_narrower_is_not_tried_wider_in_that_block(wide, make_record):
    failed = make_record(wide(33), None, status="error", error="timed out")

    assert forecast.too_long(wide(333), [failed], limit_s=1000) == "100 tasks failed already"
    assert forecast.too_long(wide(333, block=1), [failed], limit_s=1000) is None


def test_a_cell_left_out_is_none_of_the_run(wide):
    progress = Progress([wide(33), wide(333)])
    progress.left_out(wide(333))
    progress.left_out(wide(333))

    assert (progress.total, progress.left) == (1, 1)


def test_a_log_is_read_by_entries_not_by_lines():
    # The traceback of one locked request names the driver's exception and SQLAlchemy's.
    assert serving.complaints(LOG) == {"locked": 1, "dropped": 1, "errors": 1}
    assert serving.complaints(b"") == {"locked": 0, "dropped": 0, "errors": 0}


def test_the_scale_profile_is_wide_enough_to_tell():
    widths = [graph.tasks for graph in PROFILES["scale"].graphs("scale")]

    assert widths == sorted(widths)
    assert [round(tasks, -2) for tasks in widths if tasks >= 100] == [100, 1000, 5000, 10000]


def test_the_pieces_profile_goes_to_a_hundred_thousand():
    graphs = PROFILES["pieces"].graphs("scale")

    assert {graph.variant for graph in graphs} == {"pieces"}
    assert max(graph.tasks for graph in graphs) == 100_000


@pytest.mark.slow
def test_the_whole_path_under_one_lean_arm(start_process, tmp_path):
    run = start_process(
        *("-m", "pytest", str(ROOT / "benchmarks"), "--benchmark-only", "-c", str(ROOT / "pyproject.toml")),
        *("--lab-profile", "scale", "--lab-runners", "lean-threads", "--lab-blocks", "1", "--lab-out", "out"),
        *("--lab-server-setting", "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE=50"),
        # So short a limit that 1,000 tasks, of which 10 and 100 tell, can never keep it.
        *("--lab-cell-timeout", "60", "-k", "w3- or w33-"),
    )
    printed, errors = run.communicate()
    out = tmp_path / "out"

    assert run.returncode == 0, printed + errors
    found, _ = records.read(out)
    assert [(record.tasks, record.status) for record in found] == [(10, "ok"), (100, "ok")]
    for record in found:
        assert record.recorded == record.expected_recorded == record.tasks
        assert record.traffic is not None
        # Pending, Running, Completed; a connection that breaks sends again what was not confirmed.
        assert 3 * record.tasks <= record.traffic.events <= 6 * record.tasks
        assert record.traffic.requests["flow_runs"] >= 2
        assert record.traffic.locked == record.traffic.failed == 0
        assert record.usage.driver_rss_before_bytes > 0
        assert record.environment["server"]["settings"] == {"PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "50"}
    (arm,) = summarise(out).scale
    assert [size.tasks for size in arm.sizes] == [10, 100]
    assert arm.sizes[1].marginal_s.value > 0
    assert json.loads((out / "run.json").read_text())["left_out"] == []
    assert "Cost by width at scale" in (out / "details.md").read_text()
