"""The truth that went into a synthetic run comes out of its summary."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from runner_lab.reports.analysis.summary import Summary, summarise
from runner_lab.reports.choose.choice import choose
from runner_lab.reports.choose.decisions import ROWS, decisions
from runner_lab.reports.choose.ranking import Request
from runner_lab.reports.words import advice, verdict
from tests.reports import synthetic
from tests.reports.conftest import SCRIPT, RenderedRun

LOUD = synthetic.Truth("loud", "dask", per_task_s=0.0203, noise=0.35)
TRUTHS = (*synthetic.STOCK, *synthetic.LEAN, LOUD)


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    records = synthetic.records(TRUTHS, blocks=7, drift=0.0, latencies=8)
    return summarise(synthetic.write(tmp_path_factory.mktemp("truth"), records, synthetic.plan(records)))


def row(summary: Summary, name: str):
    found = summary.row(name)
    assert found is not None
    return found


@pytest.mark.parametrize("truth", [t for t in TRUTHS if not t.quadratic_s and t.noise < 0.1], ids=lambda t: t.name)
def test_startup_and_marginal_cost_are_recovered(summary: Summary, truth: synthetic.Truth) -> None:
    found = row(summary, truth.name)
    assert found.startup_s.value == pytest.approx(truth.startup_s, rel=0.1)
    assert found.marginal.per_task_s.value == pytest.approx(truth.per_task_s, rel=0.15)
    assert found.marginal.sizes == (13, 49, 145)


def test_a_pools_start_is_fixed_cost_and_not_marginal(summary: Summary) -> None:
    processes = row(summary, "processes")
    assert processes.marginal.fixed_s == pytest.approx(7, rel=0.2)
    assert processes.marginal_versus.ratio.value == pytest.approx(0.131 / 0.02, rel=0.1)
    assert processes.by_suite["overhead"].ratio.value > 10


def test_verdicts_follow_the_truth(summary: Summary) -> None:
    assert {c.verdict for c in row(summary, "dask").by_suite.values()} == {"slower"}
    assert row(summary, "lean-threads").by_suite["overhead"].verdict == "faster"
    assert {c.verdict for c in row(summary, "control").by_suite.values()} <= {"tie", "inconclusive"}
    assert row(summary, "threads").by_suite == {}
    assert row(summary, "loud").marginal_versus.verdict == "inconclusive"


def test_drift_over_blocks_does_not_touch_paired_ratios(tmp_path: Path) -> None:
    records = synthetic.records(synthetic.SMOKE, blocks=5, drift=0.5)
    found = summarise(synthetic.write(tmp_path, records))
    dask = row(found, "dask").by_suite["overhead"]
    assert dask.verdict == "slower"
    assert dask.ratio.high / dask.ratio.low < 1.3
    startup = row(found, "dask").startup_s
    assert startup.high / startup.low > 2, "absolute times do carry the drift"


def test_throughput_retry_cost_and_cache(summary: Summary) -> None:
    threads = row(summary, "threads")
    widest = synthetic.makespan_s(synthetic.THREADS, "overhead", synthetic.graph(48))
    assert summary.reference.id == "plain-w48"
    assert threads.tasks_per_s.value == pytest.approx(145 / widest, rel=0.05)
    assert threads.retry_s.value == pytest.approx(0.02, rel=0.25)
    assert threads.cached_s.value == pytest.approx(0.02 + 25 * 0.02 * 0.6, rel=0.1)
    assert threads.peak_rss_bytes == 200_000_000


def test_missing_task_runs_are_counted_and_told(full_run: RenderedRun) -> None:
    rows = json.loads(full_run.rendered.summary.read_text())["rows"]
    found = next(r for r in rows if r["arm"]["name"] == SCRIPT)
    assert found["recorded"] / found["expected_recorded"] == pytest.approx(0.9, abs=0.01)
    warning = next(w for w in full_run.rendered.warnings if w.startswith("Task runs missing"))
    assert f"{found['recorded']} of {found['expected_recorded']}" in warning


def test_a_bent_cost_is_told(summary: Summary) -> None:
    assert row(summary, "ray").marginal.bent
    assert any("not constant" in w and "ray" in w for w in advice.warnings(summary))


def test_a_control_that_is_off_is_told_first_and_raises_the_threshold(tmp_path: Path) -> None:
    off = synthetic.Truth("control", role="control", per_task_s=0.03, fixed_s=0.03, startup_s=0.45, noise=0.01)
    truths = (synthetic.THREADS, off, synthetic.Truth("rival", per_task_s=0.024, noise=0.01))
    found = summarise(synthetic.write(tmp_path, synthetic.records(truths, blocks=5)))
    assert not found.noise.covers_one
    assert found.noise_by_suite["overhead"].threshold > 0.4
    assert advice.warnings(found)[0].startswith("Noise check failed")
    assert row(found, "rival").by_suite["overhead"].verdict != "slower"
    assert "noise check failed" in verdict.of(found)[0]


@pytest.mark.parametrize(
    ("truths", "options", "words"),
    [
        (synthetic.SMOKE, {"blocks": 3}, "measured 3 times or less"),
        (
            synthetic.SMOKE,
            {"blocks": 2, "background_cpu": 0.4},
            "busy with something else in 70 of 70 cells (up to 40 %",
        ),
        ((synthetic.THREADS, synthetic.DASK), {"blocks": 2}, "No noise check"),
    ],
)
def test_warnings_say_what_to_do(tmp_path: Path, truths, options, words: str) -> None:
    found = summarise(synthetic.write(tmp_path, synthetic.records(truths, latencies=3, **options)))
    assert any(words in warning for warning in advice.warnings(found))


def test_a_quiet_complete_run_has_no_warnings(tmp_path: Path) -> None:
    records = synthetic.records(synthetic.SMOKE, blocks=7, latencies=3, seed=11)
    found = summarise(synthetic.write(tmp_path, records, synthetic.plan(records)))
    assert advice.warnings(found) == ()


def test_a_prefect_without_bytecode_is_said(tmp_path: Path) -> None:
    records = [
        replace(record, environment=record.environment | {"bytecode": False})
        for record in synthetic.records(synthetic.SMOKE, blocks=5, latencies=3)
    ]
    found = summarise(synthetic.write(tmp_path, records))
    assert any("without bytecode" in warning for warning in advice.warnings(found))


def test_the_verdict_names_the_runner_for_each_kind_of_work(tmp_path: Path) -> None:
    """Bodies that hold the GIL take turns in threads, and run side by side in processes."""
    rival = synthetic.Truth("rival", "processes", startup_s=5, fixed_s=0.05, per_task_s=0.08, noise=0.01)
    cells = synthetic.every_suite(durations=(0.05, 0.2, 1.0, 4.0))
    records = synthetic.records((synthetic.THREADS, synthetic.CONTROL, rival), cells, blocks=5, drift=0)
    words = verdict.of(summarise(synthetic.write(tmp_path, records)))
    assert words[0].startswith("For 1,000 tasks from a cold start, tasks that wait 0.3 s: threads with ")
    assert "CPU tasks of 1 s: rival with 2 slots" in words[0]
    assert any(line.startswith("An empty task costs ") for line in words)
    assert any(line.startswith("From a cold start the first result takes ") for line in words)
    assert "runner-lab choose" in words[-1]


def test_the_verdict_and_its_table_are_what_choose_answers(tmp_path: Path) -> None:
    summary = summarise(synthetic.write(tmp_path, synthetic.records(synthetic.SMOKE, blocks=3, latencies=3)))
    found = decisions(summary)
    assert found is not None
    for (work, kind, seconds), row in zip(ROWS, found.rows.values(), strict=True):
        for decision in row:
            answer = choose(summary, Request(decision.tasks, seconds, kind, cold=True))
            assert decision.best == answer.ranked[0], work
            assert decision.level == answer.leaders[1:]
    said = verdict.of(summary)[0]
    for work in verdict.HEADLINE:
        assert next(d for d in found.rows[work] if d.tasks == 1000).best.arm in said


def test_the_summary_file_is_strict_json(full_run: RenderedRun) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in summary.json")

    data = json.loads(full_run.rendered.summary.read_text(), parse_constant=refuse)
    assert data["schema"] == 2
    assert data["verdict"] == list(full_run.rendered.verdict)
    assert data["warnings"] == list(full_run.rendered.warnings)
    assert {"run", "rows", "cells", "noise", "environment"} <= data.keys()


def test_arms_that_look_alike_when_shown_are_told_apart(tmp_path: Path) -> None:
    names = ["x" * 50 + "a", "x" * 50 + "b", "\x00", "\x01", ""]
    truths = [synthetic.THREADS, *(synthetic.Truth(name) for name in names)]
    found = summarise(
        synthetic.write(tmp_path, synthetic.records(truths, [("overhead", synthetic.graph(4))], blocks=1))
    )
    labels = [arm.label for arm in found.arms]
    assert len(set(labels)) == len(truths)
    assert labels[-1] == "(no name)"
    assert [arm.name for arm in found.arms] == ["threads", *names]


def test_a_winner_that_failed_is_named_with_its_failures(tmp_path: Path) -> None:
    flaky = synthetic.Truth("flaky", per_task_s=0.005, fails="TimeoutError: gone", fails_suite="payload")
    found = summarise(synthetic.write(tmp_path, synthetic.records((*synthetic.SMOKE, flaky), blocks=3)))
    assert "flaky" in verdict.of(found)[0]
    assert "(flaky failed 9 measurements: see Failures)" in verdict.of(found)[0]


def test_one_runner_beside_direct_calls_is_never_any_runner(tmp_path: Path) -> None:
    truths = [t for t in synthetic.STOCK if t.name in ("threads", "control", "sequential")]
    found = summarise(synthetic.write(tmp_path, synthetic.records(truths, blocks=3, latencies=3)))
    assert "any runner" not in " ".join(verdict.of(found))


def test_runners_that_cost_the_same_are_said_to(tmp_path: Path) -> None:
    twin = synthetic.Truth("twin", spin_workers=1)
    found = summarise(synthetic.write(tmp_path, synthetic.records((*synthetic.SMOKE[:2], twin), blocks=5, latencies=3)))
    words = verdict.of(found)[0]
    assert "(twin as fast)" in words or "(threads as fast)" in words


@pytest.mark.parametrize(("noise", "told"), [(0.02, False), (0.6, True)])
def test_a_busy_machine_is_told_by_what_the_control_differs_by(tmp_path: Path, noise: float, told: bool) -> None:
    """Also with two blocks, whose interval says nothing."""
    truths = [replace(truth, noise=noise) for truth in (synthetic.THREADS, synthetic.CONTROL)]
    found = summarise(synthetic.write(tmp_path, synthetic.records(truths, blocks=2, latencies=3)))
    assert any("The machine was busy" in warning for warning in advice.warnings(found)) == told
