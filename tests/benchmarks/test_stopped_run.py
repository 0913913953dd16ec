"""The lab killed or interrupted in mid-run: no record is lost or doubled, and no process is left."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter

import pytest

from runner_lab.records import record as records
from runner_lab.runners.isolation import guard
from tests.benchmarks.whole_runs import keys, mark_and_scratch, wait_for, written

pytestmark = pytest.mark.slow


@pytest.mark.long
def test_a_killed_run_is_resumed_for_a_block_more_with_no_record_lost_or_doubled_and_leaves_no_process(
    start_lab, tmp_path, lab_server
):
    out = tmp_path / "out"
    run = start_lab("--lab-runners", "threads,control,dask", "--lab-blocks", "2", "--lab-out", "out")
    # Dask's cluster is up when its first cell is written.
    wait_for(lambda: any(record["arm"] == "dask" for record in written(out)), run)
    mark, scratch = mark_and_scratch(run)
    before = keys(out)
    assert len(before) < 6

    run.kill()
    run.wait()
    wait_for(lambda: not guard.marked(mark) and not scratch.exists())
    with open(out / records.FILE_NAME, "a") as file:
        file.write('{"schema": 2, "run_id": "ou')

    again = start_lab("--lab-resume", "out", "--lab-blocks", "3", "--lab-api-url", lab_server.api_url, select=None)
    printed, errors = again.communicate()

    assert again.returncode == 0, printed + errors
    assert "dropped: cut off in mid-write" in printed
    parsed, _ = records.read(out)
    assert Counter((r.suite, r.graph.width, r.arm, r.block) for r in parsed) == Counter(
        ("overhead", 2, arm, block) for arm in ("threads", "control", "dask") for block in (0, 1, 2)
    )
    valid = [line for line in (out / records.FILE_NAME).read_text().splitlines() if line.endswith("}")]
    assert len(valid) == 9
    assert " 9/9" in printed
    plan = json.loads((out / "run.json").read_text())
    assert (plan["blocks"], plan["planned_cells"], plan["interrupted"]) == (3, 9, False)


@pytest.mark.long
def test_a_killed_search_goes_on_where_it_stopped_and_has_a_row_for_each_duration(start_lab, tmp_path, lab_server):
    out, where = tmp_path / "out", ("--lab-api-url", lab_server.api_url)
    options = ("--lab-profile", "choice", "--lab-runners", "threads", "--lab-blocks", "1", "--lab-out", "out")
    run = start_lab(*options, *where, select="metg and sleep")
    wait_for(lambda: len(written(out)) >= 2, run)
    run.kill()
    run.wait()
    before = {(r["graph"]["work"]["seconds"], r["phases"]["makespan_s"]) for r in written(out)}

    again = start_lab("--lab-resume", "out", "--lab-profile", "choice", *where, select=None)
    printed, errors = again.communicate()

    assert again.returncode == 0, printed + errors
    parsed, warnings = records.read(out)
    assert not warnings
    assert before <= {(r.graph.work.seconds, r.value_s) for r in parsed}
    assert len(written(out)) == len(parsed) == len({r.graph.work.seconds for r in parsed}) > len(before)
    assert {(r.suite, r.arm, r.block, r.status) for r in parsed} == {("metg", "threads", 0, "ok")}
    plan = json.loads((out / "run.json").read_text())
    assert (plan["planned_cells"], plan["interrupted"]) == (len(parsed), False)
    selected = [(cell["suite"], cell["graph"]["work"]["kind"], cell["arm"]) for cell in plan["cells"]]
    assert selected == [("metg", "sleep", "threads")]
    rows = json.loads((out / "benchmark.json").read_text())["benchmarks"]
    assert {row["extra_info"]["cell"] for row in rows} == {str(r.cell) for r in parsed}


@pytest.mark.parametrize(("arm", "own_server"), [("dask", True), pytest.param("ray", False, marks=pytest.mark.long)])
def test_ctrl_c_keeps_what_was_measured_and_leaves_no_process(start_lab, tmp_path, lab_server, arm, own_server):
    out = tmp_path / "out"
    where = () if own_server else ("--lab-api-url", lab_server.api_url)
    run = start_lab("--lab-runners", f"threads,{arm}", "--lab-blocks", "50", "--lab-out", "out", *where)
    wait_for(lambda: any(record["arm"] == arm for record in written(out)), run)
    mark, scratch = mark_and_scratch(run)

    # To the whole group, as a terminal does.
    os.killpg(run.pid, signal.SIGINT)
    printed, errors = run.communicate()

    assert run.returncode == 2, printed + errors
    assert set(keys(out).values()) == {1}
    assert {(record["status"], record["error"]) for record in written(out)} == {("ok", None)}
    assert json.loads((out / "run.json").read_text())["interrupted"] is True
    assert "interrupted after" in (out / "report.html").read_text()
    assert "resume with: pytest benchmarks --benchmark-only --lab-resume out" in printed
    assert "Traceback (most recent call last)" not in printed + errors
    assert guard.marked(mark) == []
    assert not scratch.exists()
