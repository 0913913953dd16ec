"""`runner-lab compare` as a user types it, in a process, a home and a folder of its own."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from pathlib import Path

import psutil
import pytest

from runner_lab.benchmarks.measuring.environment import cores
from runner_lab.records import record as records
from runner_lab.runners.isolation import environment as isolation
from runner_lab.runners.isolation.waiting import wait_for

ROOT = Path(__file__).parents[3]
FLOWS = ROOT / "tests" / "user_flows"
LIMIT_S = 300.0


@pytest.fixture
def start(start_process):
    return partial(start_process, "-m", "runner_lab", "compare")


def read(out: Path) -> list[records.Record]:
    return records.read(out)[0] if (out / records.FILE_NAME).exists() else []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.py:etl"], "runner-lab: absent.py: there is no such file; name the flow as FILE.py:FLOW"),
        (["absent.py", "--blocks", "0"], "runner-lab: --blocks 0: at least 1 is needed"),
        (["two_flows.py:one", "--runners", "bare-dask"], "runner-lab: arm 'bare-dask': runs without Prefect, and"),
    ],
)
def test_what_makes_no_comparison_is_one_line_and_code_2(start, tmp_path, arguments, message):
    (tmp_path / "two_flows.py").symlink_to(FLOWS / "two_flows.py")

    run = start(*arguments)
    printed, errors = run.communicate()

    assert run.returncode == 2
    assert printed == ""
    assert message in errors
    assert len(errors.splitlines()) <= 2, "the status line and the reason"


@pytest.mark.slow
def test_a_comparison_ends_with_records_and_a_report(start, tmp_path, lab_server):
    target = str(FLOWS / "beside" / "report.py")
    run = start(target, "--runners", "dask,threads@3", "--blocks", "1", "--out", "out", "--api-url", lab_server.api_url)
    printed, errors = run.communicate()
    out = tmp_path / "out"

    assert run.returncode == 0, printed + errors
    found = read(out)
    assert [(r.arm, r.role, r.status) for r in found] == [
        ("yours", "baseline", "ok"),
        ("control", "control", "ok"),
        ("dask", "arm", "ok"),
        ("threads@3", "arm", "ok"),
    ]
    assert {r.flow_run.result for r in found} == {"same"}
    assert {tuple(r.flow_run.states.items()) for r in found} == {(("Completed", 2),)}
    plan = json.loads((out / "run.json").read_text())
    assert (plan["planned_cells"], plan["interrupted"], plan["baseline"]) == (4, False, "yours")
    assert plan["slots"] == {"yours": 0, "control": 0, "dask": max(2, cores()), "threads@3": 3}
    assert "All runners returned the same result." in printed
    assert f"report: {Path('out') / 'report.html'}" in printed
    assert "Which task runner for report?" in (out / "report.html").read_text()
    assert "Traceback" not in printed + errors


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_measured_and_renders_it(start, tmp_path, lab_server):
    out = tmp_path / "out"
    target = f"{FLOWS / 'direct_calls.py'}:pipeline"
    run = start(target, "--runners", "threads", "--blocks", "50", "--out", "out", "--api-url", lab_server.api_url)
    wait_for("a second record", lambda: len(read(out)) > 1 or run.poll() is not None, LIMIT_S)
    assert run.poll() is None, "".join(run.communicate())
    children = psutil.Process(run.pid).children(recursive=True)

    # To the whole group, as a terminal does.
    os.killpg(run.pid, signal.SIGINT)
    printed, errors = run.communicate()

    assert run.returncode == 130, printed + errors
    assert "pipeline calls its tasks directly, never by .submit or .map: no runner can speed them up." in errors
    assert "No runner can speed up pipeline" in printed
    assert "PARTIAL run: interrupted" in " ".join(errors.split())
    assert "Traceback" not in printed + errors
    assert (out / "report.html").exists()
    assert not [child for child in children if child.is_running() and isolation.MARK in child.environ()]
