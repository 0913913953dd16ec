"""Malformed, foreign and half-written input: one clear line, or a report that says what it cannot show."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner_lab import reports
from runner_lab.records import record as record_files
from runner_lab.records.record import FILE_NAME, RecordError, to_json
from tests.reports import synthetic
from tests.reports.conftest import RenderedRun, render

RECORDS = synthetic.records(synthetic.SMOKE, blocks=2, latencies=5)


def line(**changes: Any) -> str:
    data = json.loads(to_json(RECORDS[0]))
    for path, value in changes.items():
        *parents, name = path.split("__")
        target = data
        for parent in parents:
            target = target[parent]
        target[name] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("this is no JSON\n", "not JSON"),
        ("[1, 2]\n", "a JSON object is needed"),
        ('{"name": "somebody else\'s benchmark"}\n', "schema version None"),
        (line(schema=99) + "\n", "schema version 99"),
        ("\x00\xff\n", "not JSON"),
        ("[" * 100_000 + "\n", "not JSON"),
    ],
)
def test_an_unusable_file_is_one_clear_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / FILE_NAME).write_text(content, encoding="latin-1")
    with pytest.raises(RecordError, match=message) as caught:
        reports.render(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert not (tmp_path / "report.html").exists()


def test_no_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"cannot read .*nowhere.*No such file"):
        reports.render(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "changes",
    [
        {"phases__makespan_s": float("nan")},
        {"phases__makespan_s": float("inf")},
        {"phases__makespan_s": 10**400},
        {"phases__makespan_s": 1e300},
        {"phases__makespan_s": "fast"},
        {"phases__unheard_of": 1.0},
        {"latencies__queue_s": [0.1, "x"]},
        {"latencies__queue_s": [0.1, True]},
        {"latencies__queue_s": [0.1, float("nan")]},
        {"latencies__queue_s": [10**400]},
        {"latencies__queue_s": 5},
        {"graph": []},
        {"graph__width": "wide"},
        {"graph__width": -1},
        {"graph__width": 2**60},
        {"graph__work": None},
        {"graph__work__kind": ["none"]},
        {"graph__variant": {"a": 1}},
        {"graph__variant": "plain\ud800"},
        {"graph__work__kind": "sleep\x1b[31m"},
        {"graph__payload_bytes": "much"},
        {"graph__failures": 1.5},
        {"arm": 7},
        {"arm": None},
        {"error": {"why": "not"}},
        {"block": -1},
        {"block": True},
        {"cold": "yes"},
        {"executions": "all"},
        {"recorded": -3},
        {"background_cpu": "busy"},
        {"visibility_lag_s": []},
        {"ideal_s": None},
        {"status": "fine"},
        {"role": ["arm"]},
        {"environment": "mine"},
    ],
)
def test_a_record_with_a_wrong_value_is_dropped_with_a_warning(tmp_path: Path, changes: dict[str, Any]) -> None:
    lines = [to_json(record) for record in RECORDS[1:]]
    (tmp_path / FILE_NAME).write_text("\n".join([line(**changes), *lines]) + "\n")
    read, warnings = record_files.read(tmp_path)
    assert len(read) == len(lines)
    assert [warning.split(" dropped")[0] for warning in warnings] == [f"{FILE_NAME} line 1"]


@pytest.mark.usefixtures("no_charts")
def test_a_line_cut_in_half_by_a_kill_is_dropped_and_told(tmp_path: Path) -> None:
    whole = "".join(to_json(record) + "\n" for record in RECORDS)
    (tmp_path / FILE_NAME).write_text(whole[: len(whole) - 700])
    run = render(tmp_path)
    assert any("cut off in mid-write" in warning for warning in run.rendered.warnings)
    assert "cut off in mid-write" in run.html
    assert "cut off in mid-write" in run.markdown


@pytest.mark.usefixtures("no_charts")
def test_a_run_that_was_interrupted_is_marked_partial_on_top(tmp_path: Path) -> None:
    some = RECORDS[: len(RECORDS) * 2 // 3]
    run = render(synthetic.write(tmp_path, some, synthetic.plan(RECORDS, interrupted=True, finished_at=None)))
    assert run.rendered.warnings[0].startswith(f"PARTIAL run: interrupted after {len(some)} of {len(RECORDS)}")
    assert run.html.index("PARTIAL") < run.html.index("Verdict")
    assert run.markdown.index("PARTIAL") < run.markdown.index("Verdict")


@pytest.mark.usefixtures("no_charts")
def test_without_a_plan_unequal_blocks_give_a_partial_run_away(rendered: Callable[..., RenderedRun]) -> None:
    run = rendered(RECORDS[:-4])
    assert "fewer blocks than the others" in run.rendered.warnings[0]


def test_a_complete_run_is_not_called_partial(full_run: RenderedRun) -> None:
    assert not any("PARTIAL" in warning for warning in full_run.rendered.warnings)
    assert "PARTIAL" not in full_run.html


@pytest.mark.usefixtures("no_charts")
@pytest.mark.parametrize(
    "content", ["{", "[]", '{"blocks": "many", "arms": [1], "run_id": 5, "interrupted": "no"}', "\xff"]
)
def test_an_odd_plan_is_told_and_ignored(tmp_path: Path, content: str) -> None:
    synthetic.write(tmp_path, RECORDS)
    (tmp_path / "run.json").write_text(content, encoding="latin-1")
    assert any(warning.startswith("run.json") for warning in render(tmp_path).rendered.warnings)


@pytest.mark.usefixtures("no_charts")
def test_one_block_gives_figures_without_intervals_or_verdicts(rendered: Callable[..., RenderedRun]) -> None:
    run = rendered(synthetic.records(synthetic.SMOKE, blocks=1))
    assert any("cells were measured once" in warning for warning in run.rendered.warnings)
    rows = json.loads(run.rendered.summary.read_text())["rows"]
    assert {c["verdict"] for row in rows for c in row["by_suite"].values()} == {"inconclusive"}


def test_one_arm_alone_is_a_report_without_comparisons(rendered: Callable[..., RenderedRun]) -> None:
    run = rendered(synthetic.records([synthetic.THREADS], blocks=3))
    assert run.rendered.verdict == (
        "No verdict: it takes empty graphs of two widths under two runners. See the tables.",
    )
    assert "Against the baseline" not in run.html
    assert "<table" in run.html


def test_a_run_where_everything_failed_still_tells_why(rendered: Callable[..., RenderedRun]) -> None:
    broken = [replace(truth, fails="RuntimeError: no cluster") for truth in synthetic.SMOKE]
    run = rendered(synthetic.records(broken, blocks=2))
    assert run.rendered.charts == ()
    assert run.html.count("RuntimeError: no cluster") >= 3
    assert any("dask failed every time" in warning for warning in run.rendered.warnings)
    assert not any("0 blocks" in warning for warning in run.rendered.warnings)


def test_charts_without_records_are_not_mentioned(rendered: Callable[..., RenderedRun]) -> None:
    run = rendered(synthetic.records(synthetic.SMOKE, [("payload", synthetic.graph(4))], blocks=2))
    assert [chart.name for chart in run.rendered.charts] == ["paired-ratios.svg"]
    assert "Not drawn" not in run.html + run.markdown + run.details
    assert run.html.count("<figure") == run.details.count("![") == 1


@pytest.mark.usefixtures("no_charts")
def test_records_of_two_runs_and_two_environments_are_told(rendered: Callable[..., RenderedRun]) -> None:
    other = [
        replace(r, run_id="another", environment=r.environment | {"cpu": "Another CPU"}) if r.block else r
        for r in RECORDS
    ]
    warnings = " ".join(rendered(other).rendered.warnings)
    assert "Records of 2 runs" in warnings
    assert "(cpu)" in warnings


@pytest.mark.usefixtures("no_charts")
def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    synthetic.write(tmp_path, RECORDS)
    (tmp_path / "report.html").mkdir()
    with pytest.raises(RecordError, match="cannot write the report"):
        reports.render(tmp_path)


@pytest.mark.slow
def test_charts_of_an_earlier_rendering_do_not_stay(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path, RECORDS)
    first = render(folder)
    assert first.rendered.charts
    synthetic.write(tmp_path, [replace(r, status="error", error="gone") for r in RECORDS])
    render(folder)
    assert list((folder / "charts").iterdir()) == []


def test_what_the_lab_imports_where_it_measures_is_cheap() -> None:
    program = (
        "import sys; from runner_lab.records import record; from runner_lab.reports.analysis import run, metg;"
        "from runner_lab.benchmarks.session import search, session;"
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'scipy', 'numpy', 'matplotlib', 'jinja2'}))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.slow
def test_rendering_starts_no_engine(tmp_path: Path) -> None:
    synthetic.write(tmp_path, RECORDS)
    program = (
        "import sys, pathlib, reports; reports.render(pathlib.Path(sys.argv[1]));"
        "late = {m.split('.')[0] for m in sys.modules};"
        "print(sorted(late & {'prefect', 'dask', 'distributed', 'ray', 'flows', 'runners', 'benchmarks'}))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program, tmp_path], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
