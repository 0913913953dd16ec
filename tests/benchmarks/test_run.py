"""The lab as a user starts it: `pytest benchmarks --benchmark-only`, in a process, a home and a folder of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.benchmarks.whole_runs import keys, written

pytestmark = pytest.mark.slow

MISBEHAVING = """
from prefect.task_runners import ThreadPoolTaskRunner

class Refusing(ThreadPoolTaskRunner):
    def submit(self, *args, **kwargs):
        raise RuntimeError("no more slots <script>")
"""


def test_a_run_ends_with_records_table_and_report_and_leaves_the_users_home_alone(
    start_lab, tmp_path, users_environment
):
    users = Path(users_environment["HOME"]) / ".prefect"
    users.mkdir()
    (users / "profiles.toml").write_text('active = "b"\n[profiles.b]\nPREFECT_API_URL = "http://bogus.invalid/api"\n')
    users_environment["PREFECT_PROFILES_PATH"] = str(users / "profiles.toml")
    users_environment["PREFECT_API_URL"] = "http://bogus.invalid/api"

    run = start_lab("--lab-runners", "threads,control", "--lab-blocks", "2", "--lab-out", "out")
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
    assert "[####################] 4/4" in printed
    assert "Name (time in" not in printed, "the table of pytest-benchmark is for who asks"
    assert str(out / "report.html") in printed or "out/report.html" in printed
    assert errors.split() == []
    assert not {"Traceback", "WARNING", "ERROR", "DeprecationWarning"} & set(printed.replace(":", " ").split())

    assert [path.name for path in users.rglob("*")] == ["profiles.toml"]
    assert {path.name for path in tmp_path.iterdir()} <= {"out", "history.sqlite", "user-home", ".benchmarks"}


def test_an_arm_that_fails_fails_its_own_tests_and_the_rest_go_on(start_lab, tmp_path, lab_server):
    (tmp_path / "misbehaving.py").write_text(MISBEHAVING)
    (tmp_path / "runners.toml").write_text('[arms.mine]\nclass = "misbehaving.Refusing"')

    run = start_lab("--lab-runners", "threads,mine", "--lab-api-url", lab_server.api_url, "--lab-out", "out")
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


@pytest.mark.long
def test_a_run_far_from_the_api_says_so_and_a_suite_has_a_distance_of_its_own(start_lab, tmp_path, lab_server):
    options = ("--lab-runners", "threads,dask", "--lab-blocks", "1", "--lab-out", "out")
    where = ("--lab-api-url", lab_server.api_url, "--lab-api-latency", "40ms", "--lab-profile", "full")
    run = start_lab(*options, *where, select="(api_ and map-w8) or (overhead and w8-)")
    printed, errors = run.communicate()
    out = tmp_path / "out"

    assert run.returncode == 0, printed + errors
    found = written(out)
    assert {(r["suite"], r["arm"], r["api_latency_s"]) for r in found} == {
        (suite, arm, seconds)
        for suite, seconds in (("overhead", 0.04), ("api_near", 0.0), ("api_far", 0.08))
        for arm in ("threads", "dask")
    }
    assert {(r["status"], r["recorded"] == r["expected_recorded"]) for r in found} == {("ok", True)}
    assert {r["environment"]["api_latency_s"] for r in found} == {0.04}
    assert json.loads((out / "run.json").read_text())["api_latency_s"] == 0.04
    # Each flow run asks before its first task and after its last: far away that takes round trips.
    around = {(r["suite"], r["arm"]): r["phases"]["total_s"] - r["phases"]["makespan_s"] for r in found}
    assert all(around["api_far", arm] >= 4 * 0.08 for arm in ("threads", "dask"))
    assert "API 40 ms away" in (out / "report.md").read_text()
    assert "API 40 ms away" in (out / "report.html").read_text()


def test_a_run_whose_server_does_not_answer_ends_with_one_line_and_code_2(start_lab, tmp_path):
    run = start_lab("--lab-runners", "threads", "--lab-out", "out", "--lab-api-url", "http://127.0.0.1:1/api")
    printed, errors = run.communicate()

    assert run.returncode == 2, printed + errors
    assert len([line for line in printed.splitlines() if "no Prefect server at http://127.0.0.1:1/api: " in line]) == 1
    assert "Traceback" not in printed + errors
    assert not (tmp_path / "out").exists()
