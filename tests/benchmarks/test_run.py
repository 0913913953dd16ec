"""The lab as a user starts it: `pytest benchmarks --benchmark-only`, in a process, a home and a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

from reports import records
from runners import guard, isolation

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LIMIT_S = 300.0

MISBEHAVING = """
from prefect.task_runners import ThreadPoolTaskRunner

class Refusing(ThreadPoolTaskRunner):
    def submit(self, *args, **kwargs):
        raise RuntimeError("no more slots <script>")
"""


@pytest.fixture
def start(start_process):
    """Start the lab; smoke profile, the smallest graph of `overhead` unless told."""

    def run(*arguments: str, select: str | None = "overhead and w2-") -> subprocess.Popen[str]:
        return start_process(
            *("-m", "pytest", str(ROOT / "benchmarks"), "--benchmark-only"),
            *("-c", str(ROOT / "pyproject.toml"), "--lab-profile", "smoke", *arguments),
            *(("-k", select) if select else ()),
        )

    return run


def written(out: Path) -> list[dict]:
    """The records of a run, one a line; what was cut is no line."""
    path = out / records.FILE_NAME
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def keys(out: Path) -> Counter:
    return Counter(
        (record["bench"], record["graph"]["width"], record["arm"], record["block"]) for record in written(out)
    )


def wait_for(condition, process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        assert process is None or process.poll() is None, "".join(process.communicate())
        time.sleep(0.05)


def mark_and_scratch(process: subprocess.Popen[str]) -> tuple[str, Path]:
    """What the run's processes carry in their environment; the guard, which must not find itself, carries none."""
    found = set()
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            variables = child.environ()
        except psutil.Error:
            continue
        if isolation.MARK in variables:
            found.add((variables[isolation.MARK], Path(variables["PREFECT_HOME"]).parent))
    (only,) = found
    return only


def test_a_run_ends_with_records_table_and_report_and_leaves_the_users_home_alone(start, tmp_path, users_environment):
    users = Path(users_environment["HOME"]) / ".prefect"
    users.mkdir()
    (users / "profiles.toml").write_text('active = "b"\n[profiles.b]\nPREFECT_API_URL = "http://bogus.invalid/api"\n')
    users_environment["PREFECT_PROFILES_PATH"] = str(users / "profiles.toml")
    users_environment["PREFECT_API_URL"] = "http://bogus.invalid/api"

    run = start("--lab-runners", "threads,control", "--lab-blocks", "2", "--lab-out", "out")
    printed, errors = run.communicate()
    out = tmp_path / "out"

    assert run.returncode == 0, printed + errors
    assert keys(out) == Counter(("overhead", 2, arm, block) for arm in ("threads", "control") for block in (0, 1))
    assert {record["status"] for record in written(out)} == {"ok"}
    plan = json.loads((out / "run.json").read_text())
    assert (plan["planned_cells"], plan["interrupted"]) == (4, False)

    rows = {row["name"]: row for row in json.loads((out / "benchmark.json").read_text())["benchmarks"]}
    assert set(rows) == {"bench_overhead[plain-w2-threads]", "bench_overhead[plain-w2-control]"}
    for row in rows.values():
        arm = row["params"]["arm"]
        by_block = {r["block"]: r["phases"]["makespan_s"] for r in written(out) if r["arm"] == arm}
        assert row["stats"]["data"] == [by_block[0], by_block[1]]
    compared = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "compare", str(out / "benchmark.json")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert compared.returncode == 0, compared.stderr
    assert "bench_overhead[plain-w2-threads]" in compared.stdout

    assert {"report.html", "report.md", "summary.json", "charts"} <= {path.name for path in out.iterdir()}
    assert "4/4 cells" in printed
    assert str(out / "report.html") in printed or "out/report.html" in printed
    assert errors.split() == ["Wrote", "benchmark", "data", "in:", "out/benchmark.json"]
    assert not {"Traceback", "WARNING", "ERROR", "DeprecationWarning"} & set(printed.replace(":", " ").split())

    assert [path.name for path in users.rglob("*")] == ["profiles.toml"]
    assert {path.name for path in tmp_path.iterdir()} <= {"out", "history.sqlite", "user-home", ".benchmarks"}


def test_an_arm_that_fails_fails_its_own_tests_and_the_rest_go_on(start, tmp_path, lab_server):
    (tmp_path / "misbehaving.py").write_text(MISBEHAVING)
    (tmp_path / "runners.toml").write_text('[arms.mine]\nclass = "misbehaving.Refusing"')

    run = start("--lab-runners", "threads,mine", "--lab-api-url", lab_server.api_url, "--lab-out", "out")
    printed, errors = run.communicate()
    out = tmp_path / "out"

    assert run.returncode == 1, printed + errors
    assert {(record["arm"], record["status"]) for record in written(out)} == {("threads", "ok"), ("mine", "error")}
    assert "1 failed, 1 passed" in printed
    assert "overhead/plain-w2/mine, block 0: RuntimeError: no more slots <script>" in printed
    assert "Traceback" not in printed + errors
    page = (out / "report.html").read_text()
    assert "no more slots" in page
    assert "slots <script>" not in page
    rows = json.loads((out / "benchmark.json").read_text())["benchmarks"]
    assert [row["params"]["arm"] for row in rows] == ["threads"]


def test_a_run_whose_server_does_not_answer_ends_with_one_line_and_code_2(start, tmp_path):
    run = start("--lab-runners", "threads", "--lab-out", "out", "--lab-api-url", "http://127.0.0.1:1/api")
    printed, errors = run.communicate()

    assert run.returncode == 2, printed + errors
    assert len([line for line in printed.splitlines() if "no Prefect server at http://127.0.0.1:1/api: " in line]) == 1
    assert "Traceback" not in printed + errors
    assert not (tmp_path / "out").exists()


def test_a_killed_run_is_resumed_with_no_record_lost_or_doubled_and_leaves_no_process(start, tmp_path, lab_server):
    out = tmp_path / "out"
    run = start("--lab-runners", "threads,control,dask", "--lab-blocks", "2", "--lab-out", "out")
    # Dask's cluster is up when its first cell is written.
    wait_for(lambda: any(record["arm"] == "dask" for record in written(out)), run)
    mark, scratch = mark_and_scratch(run)
    before = keys(out)
    assert len(before) < 6

    run.kill()
    run.wait()
    wait_for(lambda: not guard.marked(mark) and not scratch.exists())
    with open(out / records.FILE_NAME, "a") as file:
        file.write('{"schema": 1, "run_id": "ou')

    again = start("--lab-resume", "out", "--lab-api-url", lab_server.api_url, select=None)
    printed, errors = again.communicate()

    assert again.returncode == 0, printed + errors
    assert "dropped: cut off in mid-write" in printed
    parsed, _ = records.read(out)
    assert Counter((r.bench, r.graph["width"], r.arm, r.block) for r in parsed) == Counter(
        ("overhead", 2, arm, block) for arm in ("threads", "control", "dask") for block in (0, 1)
    )
    valid = [line for line in (out / records.FILE_NAME).read_text().splitlines() if line.endswith("}")]
    assert len(valid) == 6
    assert "6/6 cells" in printed


def test_a_killed_search_goes_on_where_it_stopped_and_has_a_row_for_each_duration(start, tmp_path, lab_server):
    out, where = tmp_path / "out", ("--lab-api-url", lab_server.api_url)
    options = ("--lab-profile", "choice", "--lab-runners", "threads", "--lab-blocks", "1", "--lab-out", "out")
    run = start(*options, *where, select="metg and sleep")
    wait_for(lambda: len(written(out)) >= 2, run)
    run.kill()
    run.wait()
    before = {(r["graph"]["work"]["seconds"], r["phases"]["makespan_s"]) for r in written(out)}

    again = start("--lab-resume", "out", *where, select=None)
    printed, errors = again.communicate()

    assert again.returncode == 0, printed + errors
    parsed, warnings = records.read(out)
    assert not warnings
    assert before <= {(r.graph["work"]["seconds"], r.value_s) for r in parsed}
    assert len(written(out)) == len(parsed) == len({r.graph["work"]["seconds"] for r in parsed}) > len(before)
    assert {(r.bench, r.arm, r.block, r.status) for r in parsed} == {("metg", "threads", 0, "ok")}
    plan = json.loads((out / "run.json").read_text())
    assert (plan["planned_cells"], plan["interrupted"]) == (len(parsed), False)
    assert plan["cells"] == ["metg/sleep/threads"]
    rows = json.loads((out / "benchmark.json").read_text())["benchmarks"]
    assert {row["extra_info"]["cell"] for row in rows} == {r.cell for r in parsed}


@pytest.mark.parametrize(("arm", "own_server"), [("dask", True), ("ray", False)])
def test_ctrl_c_keeps_what_was_measured_and_leaves_no_process(start, tmp_path, lab_server, arm, own_server):
    out = tmp_path / "out"
    where = () if own_server else ("--lab-api-url", lab_server.api_url)
    run = start("--lab-runners", f"threads,{arm}", "--lab-blocks", "50", "--lab-out", "out", *where)
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
    assert "go on with: pytest benchmarks --benchmark-only --lab-resume out" in printed
    assert "Traceback (most recent call last)" not in printed + errors
    assert guard.marked(mark) == []
    assert not scratch.exists()
