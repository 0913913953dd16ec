"""A user's flow, compared: what the report says of runs whose truth is known."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from runner_lab.records import record as records
from runner_lab.records.record import FlowRun, Phases, Record, RecordError
from runner_lab.records.traits import ArmTraits, Slots, before
from runner_lab.reports.analysis.summary import summarise
from runner_lab.reports.choose import asking
from runner_lab.reports.words import advice, verdict
from tests.reports import synthetic
from tests.reports.conftest import SCRIPT, render
from tests.reports.synthetic import CONTROL, THREADS, Truth

YOURS = replace(THREADS, name="yours", workers=0)
SLOW, FAST = Truth("dask", "dask", per_task_s=0.2), Truth("ray", "ray", per_task_s=0.01)
DIRECT = replace(synthetic.FLOW, direct_calls=("etl.py:7 clean", "etl.py:9 load"), submits=False)


def traits(lines: list[Record]) -> dict[str, ArmTraits]:
    """Threads are limited where they are counted."""
    found = {}
    for line in lines:
        slots: Slots = "counted" if line.workers else "no limit" if line.engine == "threads" else "unknown"
        found[line.arm] = replace(before(line.engine, line.arm, False), slots=slots)
    return found


def told(folder: Path, lines: list[Record]) -> tuple[str, str]:
    """Verdict and warnings."""
    baseline = next(line.arm for line in lines if line.role == "baseline")
    found = summarise(synthetic.write(folder, lines, synthetic.plan(lines, baseline=baseline, traits=traits(lines))))
    return "\n".join(verdict.of(found)), "\n".join(advice.warnings(found))


def test_a_faster_arm_is_named_with_its_gain(tmp_path):
    words, warnings = told(tmp_path, synthetic.comparison((THREADS, CONTROL, SLOW, FAST)))

    assert words.splitlines() == [
        words.splitlines()[0],
        words.splitlines()[1],
        "All runners returned the same result.",
        "Task runs in each run, by final state: 7 Completed.",
    ]
    assert re.fullmatch(
        r"Take ray \(2 workers\) for etl\(n=3\): 2\.0\dx faster \([\d.]+x\N{EN DASH}[\d.]+x\) than threads \(2 .*",
        words.splitlines()[0],
    )
    assert re.fullmatch(
        r"Time of one run: ray [\d.]+ ms \(2 workers\), threads [\d.]+ ms \(2 threads\), dask [\d.]+ ms \(2 work.*",
        words.splitlines()[1],
    )
    assert warnings == ""


def test_where_none_is_faster_threads_stays(tmp_path):
    words, _ = told(tmp_path, synthetic.comparison((THREADS, CONTROL, SLOW)))

    assert words.startswith("Stay with threads (2 threads) for etl(n=3): no other runner is faster.")


def test_where_none_can_be_told_apart_the_simplest_is_named(tmp_path):
    level = replace(FAST, per_task_s=THREADS.per_task_s)
    words, _ = told(tmp_path, synthetic.comparison((THREADS, CONTROL, level)))

    assert words.startswith("Stay with threads (2 threads) for etl(n=3): ray is as fast within this run's noise.")


def timed(times: dict[str, tuple[float, ...]]) -> list[Record]:
    """A comparison with these times by arm, block after block."""
    truths = {"yours": YOURS, "control": replace(YOURS, name="control", role="control"), "dask": SLOW}
    lines = synthetic.comparison([truths[arm] for arm in times], blocks=len(times["yours"]))
    return [
        replace(line, phases=Phases(makespan_s=times[line.arm][line.block], total_s=times[line.arm][line.block]))
        for line in lines
    ]


def test_in_a_noisy_run_nothing_is_told_and_the_words_say_what_to_do(tmp_path):
    rough = [replace(truth, noise=0.6) for truth in (THREADS, CONTROL, replace(SLOW, per_task_s=0.12))]
    words, _ = told(tmp_path, synthetic.comparison(rough, blocks=2))

    assert words.startswith("This run cannot tell threads and dask apart for etl(n=3): two runs under threads alone")
    assert "Close other programs and measure again with --blocks 5." in words.splitlines()[0]


@pytest.mark.parametrize(
    ("times", "why"),
    [
        # Two identical runs were twenty times apart: that another is 26 times as fast may be the same chance.
        (
            {"yours": (1.97,), "control": (0.099,), "dask": (0.076,)},
            "two runs under your flow's runner alone were 20x apart, and each runner was measured once.",
        ),
        (
            {"yours": (2.0, 10.0), "control": (2.2, 1.0), "dask": (1.8, 1.1)},
            "two runs under your flow's runner alone were too far apart.",
        ),
    ],
)
def test_what_two_identical_runs_may_differ_by_is_no_verdict(tmp_path, times, why):
    words, _ = told(tmp_path, timed(times))

    assert words.startswith(f"This run cannot tell your flow's runner and dask apart for etl(n=3): {why}")
    assert "Take" not in words
    assert "Stay" not in words
    assert "faster" not in words


def test_what_stands_out_of_the_noise_in_one_block_is_a_first_look(tmp_path):
    words, warnings = told(tmp_path, timed({"yours": (2.0,), "control": (2.02,), "dask": (0.1,)}))

    assert words.startswith("Measured once, so a first look only: take dask (2 workers) for etl(n=3): 20x faster than")
    assert "(--blocks 5)" in warnings
    assert "--lab" not in warnings


def test_where_more_threads_than_yours_win_it_is_said_plainly(tmp_path):
    yours = replace(THREADS, name="yours", workers=2, per_task_s=0.06)
    unlimited = replace(THREADS, role="arm", workers=0)
    lines = synthetic.comparison((yours, replace(yours, name="control", role="control"), unlimited, SLOW))
    words, _ = told(tmp_path, lines)

    first, second, *_ = words.splitlines()
    assert re.match(r"Take threads \(no limit of threads\) for etl\(n=3\): (2.9|3)\S*x faster \(", first)
    assert re.match(r"Your flow's runner has 2 threads; threads without a limit are (2.9|3)\S*x faster \(", second)


def test_what_a_run_cannot_tell_is_named_without_a_figure(tmp_path):
    quiet, rival = (1.0, 1.02, 0.99, 1.01, 1.0), (0.8, 1.2, 0.7, 1.3, 0.75)
    words, _ = told(tmp_path, timed({"yours": quiet, "control": quiet[::-1], "dask": rival}))

    first, second, *_ = words.splitlines()
    assert first == (
        "Stay with your flow's runner (yours, no limit of threads) for etl(n=3): no other runner is faster beyond the "
        "noise."
    )
    assert second == "This run cannot tell dask from it: add blocks (--blocks 10)."


def test_a_run_whose_baseline_failed_names_the_shortest_time_and_no_verdict(tmp_path):
    broken = replace(YOURS, fails="ValueError: no")
    words, _ = told(tmp_path, synthetic.comparison((broken, FAST, SLOW)))

    assert words.startswith("Your flow's runner failed, so nothing is compared with it. The shortest time is")
    assert "Under yours it failed every time: ValueError: no" in words


def test_an_arm_that_fails_is_told_with_its_reason_and_the_rest_is_judged(tmp_path):
    broken = replace(SLOW, fails="TypeError: cannot pickle '_thread.lock' object")
    words, warnings = told(tmp_path, synthetic.comparison((THREADS, CONTROL, broken, FAST)))

    assert words.startswith("Take ray (2 workers)")
    assert "Under dask it failed every time: TypeError: cannot pickle '_thread.lock' object" in words
    assert "failed" not in warnings, "said once, with its reason"


def test_a_flow_that_fails_everywhere_has_no_runner(tmp_path):
    truths = [replace(truth, fails="ValueError: no") for truth in (THREADS, CONTROL, SLOW)]
    words, warnings = told(tmp_path, synthetic.comparison(truths, blocks=1))
    run = render(tmp_path)

    assert words == "etl(n=3) failed under every runner: ValueError: no. Fix that first."
    assert warnings == ""
    assert "ValueError: no" in run.html


def test_arms_that_fail_for_one_reason_share_a_line(tmp_path):
    broken = [replace(truth, fails="ValueError: no") for truth in (SLOW, FAST)]
    words, _ = told(tmp_path, synthetic.comparison((THREADS, CONTROL, replace(SLOW, name="lean-dask"), *broken)))

    assert words.splitlines().count("Under dask and ray it failed every time: ValueError: no") == 1


def test_another_result_is_told_and_no_fast_time(tmp_path):
    lines = [
        replace(
            record,
            status="error",
            error="another result: 5, but 4 under threads",
            flow_run=FlowRun({"Completed": 7}, 7, 0, 0, "different", "5, but 4 under threads"),
        )
        if record.arm == "ray"
        else record
        for record in synthetic.comparison((THREADS, CONTROL, SLOW, FAST))
    ]
    words, _ = told(tmp_path, lines)

    assert words.startswith("Stay with threads")
    assert "Under ray it failed every time: another result: 5, but 4 under threads" in words
    assert "the same result" not in words


@pytest.mark.parametrize(
    ("run", "line"),
    [
        ({"result": "nothing"}, "The flow returned nothing, so there was no result to compare."),
        (
            {"result": "unasked"},
            "Results were not compared (--no-check-result).",
        ),
        (
            {"result": "unchecked", "remark": "a Lock has no == to compare it by"},
            "Results could not be compared: a Lock has no == to compare it by.",
        ),
        (
            {"states": {"Completed": 5, "Failed": 2}},
            "Task runs in each run, by final state: 5 Completed, 2 Failed.",
        ),
    ],
)
def test_what_became_of_results_and_task_runs(tmp_path, run, line):
    words, _ = told(tmp_path, synthetic.comparison((THREADS, CONTROL, SLOW), **run))

    assert line in words.splitlines()


def test_a_flow_past_all_runners_is_told_where(tmp_path):
    lines = synthetic.comparison((THREADS, CONTROL, FAST), spec=DIRECT, submitted=0, direct=7)
    words, warnings = told(tmp_path, lines)

    assert words.startswith("No runner can speed up etl(n=3): it called its tasks directly. Write TASK.submit(...) or")
    assert "etl.py:7 clean" in words
    assert "never by" not in warnings, "said once"


def test_what_the_source_alone_shows_is_told_too(tmp_path):
    half = replace(DIRECT, submits=True, own_runner="DaskTaskRunner")
    _, warnings = told(tmp_path, synthetic.comparison((THREADS, CONTROL), spec=half, direct=2, subflow_tasks=4))

    assert (
        "Some tasks are called directly, so no runner can speed them up: etl.py:7 calls clean and etl.py:9" in warnings
    )
    assert "4 task runs of each run belong to sub-flows, which keep their own task runners" in warnings


def test_the_page_holds_nothing_of_graphs_that_were_not_run(tmp_path):
    lines = synthetic.comparison((THREADS, CONTROL, SLOW, FAST), spec=replace(synthetic.FLOW, name=SCRIPT))
    synthetic.write(tmp_path, lines, synthetic.plan(lines, profile="compare"))
    run = render(tmp_path)

    for text in (run.html, run.markdown):
        assert "Not drawn" not in text
        assert "empty task" not in text
        assert "--lab-" not in text
        assert SCRIPT not in text
    assert "20 measurements" in run.html
    assert "<h2>Charts</h2>" not in run.html
    assert [path.name for path in run.rendered.charts] == ["time-by-arm.svg", "time-by-arm.png"]


def test_choose_does_not_answer_from_a_comparison(tmp_path):
    lines = synthetic.comparison((THREADS, CONTROL))
    synthetic.write(tmp_path / "results" / "newest", lines)

    with pytest.raises(RecordError, match="no run under"):
        asking.find_run(None, tmp_path / "results")


def test_a_record_of_a_flow_is_read_as_it_was_written():
    (record, *_) = synthetic.comparison((THREADS,), blocks=1)

    assert records.parse(records.to_json(record)) == record
    with pytest.raises(RecordError, match="flow_run"):
        records.parse(records.to_json(record).replace('"states":{"Completed":7}', '"states":7'))
    with pytest.raises(RecordError, match="not a record"):
        records.parse(records.to_json(record).replace('"Completed"', '"Completed\\ud800"'))
