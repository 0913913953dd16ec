"""A user's flow, compared: what the report says of runs whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runner_lab.records import record as records
from runner_lab.records.record import FlowRun, Phases, Record, RecordError
from runner_lab.reports.analysis.summary import summarise
from runner_lab.reports.choose import asking
from runner_lab.reports.words import advice, verdict
from tests.reports import synthetic
from tests.reports.conftest import SCRIPT, render
from tests.reports.synthetic import CONTROL, THREADS, Truth

SLOW, FAST = Truth("dask", "dask", per_task_s=0.2), Truth("ray", "ray", per_task_s=0.01)
DIRECT = replace(synthetic.FLOW, direct_calls=("etl.py:7 clean", "etl.py:9 load"), submits=False)


def told(folder: Path, lines: list[Record]) -> tuple[str, str]:
    """Verdict and warnings."""
    found = summarise(synthetic.write(folder, lines, synthetic.plan(lines)))
    return "\n".join(verdict.of(found)), "\n".join(advice.warnings(found))


def test_a_faster_arm_is_named_with_its_gain(tmp_path):
    words, warnings = told(tmp_path, synthetic.comparison((THREADS, CONTROL, SLOW, FAST)))

    assert words.splitlines() == [
        words.splitlines()[0],
        words.splitlines()[1],
        "All arms returned the same result.",
        "Task runs in each run, by final state: 7 Completed.",
    ]
    assert words.startswith("Take ray for etl(n=3): 2.0")
    assert "as fast as threads." in words.splitlines()[0]
    assert warnings == ""


def test_where_none_is_faster_threads_stays(tmp_path):
    words, _ = told(tmp_path, synthetic.comparison((THREADS, CONTROL, SLOW)))

    assert words.startswith("Stay with threads for etl(n=3): no other runner was faster.")


def test_where_none_can_be_told_apart_the_simplest_is_named(tmp_path):
    level = replace(FAST, per_task_s=THREADS.per_task_s)
    words, _ = told(tmp_path, synthetic.comparison((THREADS, CONTROL, level)))

    assert words.startswith("Stay with threads for etl(n=3); ray cannot be told from it.")


def test_in_a_noisy_run_nothing_is_sure_and_what_took_six_times_as_long_is_not_near(tmp_path):
    rough = [replace(truth, noise=0.6) for truth in (THREADS, CONTROL, replace(SLOW, per_task_s=0.12))]
    words, _ = told(tmp_path, synthetic.comparison(rough, blocks=2))

    assert words.startswith("In so noisy a run no more than a first look: Stay with threads")
    assert "dask cannot be told" not in words


def test_nobody_is_told_to_stay_with_what_took_three_times_as_long(tmp_path):
    times = {"threads": (2.0, 10.0), "control": (2.2, 9.0), "dask": (1.8, 1.1)}
    lines = [
        replace(record, phases=Phases(makespan_s=times[record.arm][record.block], total_s=1.0))
        for record in synthetic.comparison((THREADS, CONTROL, SLOW), blocks=2)
    ]
    words, _ = told(tmp_path, lines)

    assert "Take dask for etl(n=3)" in words.splitlines()[0]
    assert "cannot be told" not in words


def test_one_block_is_a_first_look(tmp_path):
    words, warnings = told(tmp_path, synthetic.comparison((THREADS, CONTROL, SLOW), blocks=1))

    assert words.startswith("Measured once, so no more than a first look: Stay with threads")
    assert "(--blocks 5)" in warnings
    assert "--lab" not in warnings


def test_an_arm_that_fails_is_told_with_its_reason_and_the_rest_is_judged(tmp_path):
    broken = replace(SLOW, fails="TypeError: cannot pickle '_thread.lock' object")
    words, warnings = told(tmp_path, synthetic.comparison((THREADS, CONTROL, broken, FAST)))

    assert words.startswith("Take ray")
    assert "Under dask it failed every time: TypeError: cannot pickle '_thread.lock' object" in words
    assert "dask failed altogether" in warnings


def test_a_flow_that_fails_everywhere_has_no_runner(tmp_path):
    truths = [replace(truth, fails="ValueError: no") for truth in (THREADS, CONTROL, SLOW)]
    words, _ = told(tmp_path, synthetic.comparison(truths, blocks=1))
    run = render(tmp_path)

    assert words.startswith("etl(n=3) failed under every arm: mend that first.")
    assert "ValueError: no" in run.html


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

    assert words.startswith("No runner will help etl(n=3): it called its tasks directly, and handed none to any runner")
    assert "etl.py:7 clean" in words
    assert "never by" not in warnings, "said once"


def test_what_the_source_alone_shows_is_told_too(tmp_path):
    half = replace(DIRECT, submits=True, own_runner="DaskTaskRunner")
    _, warnings = told(tmp_path, synthetic.comparison((THREADS, CONTROL), spec=half, direct=2, subflow_tasks=4))

    assert (
        "Some tasks are called directly, so no runner makes them faster: etl.py:7 calls clean and etl.py:9" in warnings
    )
    assert "brings a DaskTaskRunner: each arm's runner takes its place" in warnings
    assert "4 task runs of each run belong to sub-flows" in warnings


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
