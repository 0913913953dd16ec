"""Entries as the processes of a flow write them, with what must be read from them."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from runner_lab.benchmarks.advise import probe, reading
from runner_lab.benchmarks.advise.reading import Described, NoProfileError
from runner_lab.records.flow_profile import OWN_PROCESSES, LimitUse, ThreadPool

KNOWN = Described("etl", "ThreadPoolTaskRunner", "threads", 0, 2, 10.0, None)
DRIVER, MAIN = 100, 1


def write(folder: Path, *entries: dict, pid: int = DRIVER) -> Path:
    lines = [{"k": "process", "pid": pid, "runtime": None}, *entries]
    (folder / f"{pid}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def flow(begin_s: float, end_s: float) -> list[dict]:
    known = {"k": "flow", "tid": MAIN, "c": 0.0, "async": False}
    return [{**known, "end": False, "t": begin_s}, {**known, "end": True, "t": end_s, "c": 0.1}]


def submit(run: str, at_s: float, deps: tuple[str, ...] = (), task: str = "work") -> dict:
    times = {"t0": at_s, "t1": at_s + 0.01, "c0": 0.0, "c1": 0.0}
    return {
        "k": "submit",
        "id": run,
        "task": task,
        "async": False,
        "deps": list(deps),
        "tid": MAIN,
        "where": "etl.py:3",
    } | times


def body(run: str, begin_s: float, end_s: float, cpu_s: float = 0.0, tid: int = 7, **other) -> dict:
    known = {
        "k": "body",
        "id": run,
        "task": "work",
        "call": None,
        "arg": 10,
        "out": 20,
        "async": False,
        "failed": False,
    }
    times = {
        "tid": tid,
        "t0": begin_s,
        "t1": end_s,
        "c0": 0.0,
        "c1": cpu_s,
        "cpu": cpu_s,
        "children": [0.0, 0.0],
        "queued": 0.0,
    }
    return known | times | other


def test_a_run_has_the_sum_of_its_attempts_and_the_delays_between_them(tmp_path):
    entries = [*flow(0.0, 9.0), submit("a", 0.1), body("a", 1.0, 2.0, failed=True), body("a", 4.0, 5.0, cpu_s=0.5)]
    run = reading.read(write(tmp_path, *entries), KNOWN).runs[0]
    assert (run.attempts, run.failed) == (2, False)
    assert (run.wait_s, run.cpu_s) == pytest.approx((1.5 + 2.0, 0.5))
    assert (run.start_s, run.end_s) == (1.0, 5.0)


def test_children_of_one_process_are_shared_out_among_the_runs_that_end(tmp_path):
    """Four runs at a time, each with a child of 0.6 s, on two cores: each alone would take 0.6 s."""
    ends = (1.1, 1.15, 1.2, 1.25)
    bodies = [
        body(run, 0.0, end_s, tid=10 + i, children=[0.0, 0.6 * (i + 1)])
        for i, (run, end_s) in enumerate(zip("abcd", ends, strict=True))
    ]
    entries = [*flow(0.0, 1.3), *(submit(run, 0.0) for run in "abcd"), *bodies]
    found = reading.read(write(tmp_path, *entries), KNOWN)
    for run in found.runs:
        assert (run.cpu_s, run.width) == pytest.approx((0.6, 1.0))
        assert run.alone_s == pytest.approx(0.6, abs=0.05)
    assert sum(run.queued_s for run in found.runs) == pytest.approx(sum(ends) - 4 * 0.6, abs=0.2)


def test_children_that_outlive_the_tasks_compute_for_those_that_go_on(tmp_path):
    """As joblib's do: two of them, and one that is a profiled worker itself."""
    runs = [submit("a", 0.0), submit("b", 0.0), body("a", 0.0, 2.0, tid=8), body("b", 2.0, 4.0, tid=8)]
    family = [{"k": "family", "t": t, "cpu": {"300": 0.8 * t, "301": 0.8 * t, "200": t}} for t in (1.0, 2.0, 3.0, 4.0)]
    write(tmp_path, pid=200)
    found = reading.read(write(tmp_path, *flow(0.0, 4.2), *runs, *family), KNOWN)
    assert [run.cpu_s for run in found.runs] == pytest.approx([3.2, 3.2])
    assert [run.width for run in found.runs] == pytest.approx([1.6, 1.6])
    assert found.pools == (ThreadPool(OWN_PROCESSES, 2),)


def test_a_child_that_ends_with_its_task_is_none_that_outlives_it(tmp_path):
    """As a program's does that a task runs: at the last look it lives, and then its CPU is among those that ended."""
    run = body("a", 0.0, 2.0, tid=8, children=[0.0, 1.9])
    family = [{"k": "family", "t": t, "cpu": {"300": t - 0.1}} for t in (0.5, 1.0, 1.5)]
    found = reading.read(write(tmp_path, *flow(0.0, 2.2), submit("a", 0.0), run, *family), KNOWN)
    assert found.runs[0].cpu_s == pytest.approx(1.9)
    assert found.pools == ()


def test_a_run_waits_beside_its_child_where_nobody_hinders_it(tmp_path):
    entries = [*flow(0.0, 1.3), submit("a", 0.0), body("a", 0.0, 1.0, children=[2.0, 2.4])]
    (run,) = reading.read(write(tmp_path, *entries), KNOWN).runs
    assert (run.cpu_s, run.wait_s, run.width) == pytest.approx((0.4, 0.6, 1.0))


def test_waiting_for_a_limit_of_this_server_is_none_of_the_task_s(tmp_path):
    def taken(run: str, asked_s: float, had_s: float, back_s: float) -> dict:
        return {"k": "limit", "id": run, "names": ["db"], "slots": 1, "t0": asked_s, "t1": had_s, "t2": back_s}

    entries = [*flow(0.0, 9.0), submit("a", 0.1), submit("b", 0.1), body("a", 1.0, 3.1), body("b", 1.0, 5.1, tid=8)]
    limits = [taken("a", 1.0, 1.1, 3.1), taken("b", 1.0, 3.1, 5.1)]
    found = reading.read(write(tmp_path, *entries, *limits), KNOWN)
    assert [run.wait_s for run in found.runs] == pytest.approx([2.1, 2.1]), "asking takes 0.1 s anywhere"
    assert found.limits == {"db": LimitUse(slots=2, held_s=pytest.approx(4.0))}


def test_a_sub_flow_that_waits_for_its_arguments_is_not_prefect_s_time(tmp_path):
    subflow = {"k": "subflow", "name": "rep", "tid": MAIN, "by": None, "t0": 0.2, "f0": 3.4, "f1": 3.5, "t1": 4.0}
    wait = {"k": "wait", "ids": ["a"], "tid": MAIN, "by": None, "t0": 0.3, "t1": 3.3, "c0": 0.0, "c1": 0.0}
    entries = [*flow(0.0, 4.1), submit("a", 0.1), body("a", 0.2, 3.2), subflow, wait]
    found = reading.read(write(tmp_path, *entries), KNOWN)
    assert found.subflows["rep"].around_s == pytest.approx(0.2 + 0.5)


def test_what_was_submitted_and_has_no_body_is_a_run_without_one(tmp_path):
    found = reading.read(write(tmp_path, *flow(0.0, 1.0), submit("a", 0.1), submit("b", 0.2, ("a",))), KNOWN)
    assert [run.attempts for run in found.runs] == [0, 0]
    assert found.runs[1].upstream == (0,)


def test_bodies_of_other_processes_belong_to_the_runs_that_the_flow_has_submitted(tmp_path):
    write(tmp_path, *flow(0.0, 2.0), submit("a", 0.1))
    write(tmp_path, body("a", 0.5, 1.5, cpu_s=0.9), pid=200)
    (run,) = reading.read(tmp_path, KNOWN).runs
    assert run.cpu_s == pytest.approx(0.9)


def test_waits_for_the_gil_are_told_from_others_by_the_looks(tmp_path):
    write(
        tmp_path,
        *flow(0.0, 2.0),
        submit("a", 0.0),
        submit("b", 0.0),
        body("a", 0.0, 2.0, 0.5),
        body("b", 0.0, 2.0, 0.5, 8),
    )
    # Thread 7 waits for the GIL in half of the looks, thread 8 for something else.
    looks = [{"t": i / 50, "by": {str(DRIVER): {"gil": [7], "wait": [8]}}} for i in range(0, 100, 2)]
    looks += [{"t": i / 50, "by": {str(DRIVER): {"gil": [7], "wait": [8]}}} for i in range(1, 100, 2)]
    (tmp_path / "looks.jsonl").write_text("".join(json.dumps(look) + "\n" for look in looks))
    a, b = reading.read(tmp_path, KNOWN).runs
    # One figure for a task: half of what its runs were off the CPU they waited for others.
    assert a.wait_s + b.wait_s == pytest.approx(2.0, rel=0.05)
    assert a.queued_s + b.queued_s == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize(("state", "wait_s"), [("gil", 0.0), ("wait", 2.7)])
def test_short_gaps_between_submits_are_told_by_the_looks_at_all_of_them(tmp_path, state, wait_s):
    """Thirty of 0.09 s, each with four looks at most: too few to tell by one."""
    runs = [f"run-{i}" for i in range(30)]
    submits = [submit(run, 0.09 + 0.1 * i) for i, run in enumerate(runs)]
    write(tmp_path, *flow(0.0, 3.0), *submits, *(body(run, 0.0, 3.0, tid=50 + i) for i, run in enumerate(runs)))
    looks = [{"t": i / 40, "by": {str(DRIVER): {"gil": [], "wait": [], state: [MAIN]}}} for i in range(120)]
    (tmp_path / "looks.jsonl").write_text("".join(json.dumps(look) + "\n" for look in looks))
    steps = reading.read(tmp_path, KNOWN).steps
    assert sum(step.wait_s for step in steps if step.kind == "own") == pytest.approx(wait_s, abs=0.15)


def test_without_looks_what_is_no_cpu_is_a_wait(tmp_path):
    found = reading.read(write(tmp_path, *flow(0.0, 2.0), submit("a", 0.0), body("a", 0.0, 2.0, 0.5)), KNOWN)
    assert found.runs[0].wait_s == pytest.approx(1.5)
    assert not found.looks


def test_an_idle_gap_that_ends_as_a_run_does_is_a_wait_for_it(tmp_path):
    entries = [*flow(0.0, 5.0), submit("a", 0.0), body("a", 0.1, 3.0), submit("b", 3.01), body("b", 3.1, 4.9)]
    steps = reading.read(write(tmp_path, *entries), KNOWN).steps
    assert [(step.kind, step.runs) for step in steps if step.kind != "own"] == [
        ("submit", (0,)),
        ("wait", (0,)),
        ("submit", (1,)),
        ("wait", (1,)),
    ]


def test_own_code_between_steps_is_kept_with_what_it_computed(tmp_path):
    late = submit("a", 2.0) | {"c0": 1.2, "c1": 1.2}
    entries = [*flow(0.0, 2.1), late, body("a", 2.02, 2.05)]
    own = reading.read(write(tmp_path, *entries), KNOWN).steps[0]
    assert (own.kind, own.cpu_s) == ("own", pytest.approx(1.2))
    assert own.wait_s == pytest.approx(0.8)


def test_tasks_that_submit_have_steps_of_their_own(tmp_path):
    inner = submit("b", 1.0) | {"tid": 7, "by": "a"}
    entries = [*flow(0.0, 4.0), submit("a", 0.0), body("a", 0.1, 3.0), inner, body("b", 1.1, 2.9, tid=8)]
    outer = reading.read(write(tmp_path, *entries), KNOWN).runs[0]
    assert [step.kind for step in outer.steps if step.kind != "own"] == ["submit", "wait"]


def test_the_gil_share_of_each_task_is_told_apart_where_they_ran_beside_each_other(tmp_path):
    # `spin` holds the GIL whenever it computes, `crunch` never; in each interval both do, in other proportions.
    xtx, xty = [[0.0] * 3 for _ in range(3)], [0.0] * 3
    for k in range(200):
        spin, crunch = 0.001 + 0.004 * (k % 5) / 4, 0.005 - 0.003 * (k % 3) / 2
        row, held = [0.0, spin, crunch], spin
        for i in range(3):
            xty[i] += row[i] * held
            for j in range(3):
                xtx[i][j] += row[i] * row[j]
    gil = {"k": "gil", "pid": DRIVER, "names": ["", "spin", "crunch"], "xtx": xtx, "xty": xty, "pool": {}}
    entries = [*flow(0.0, 2.0), submit("a", 0.0, task="spin"), submit("b", 0.0, task="crunch")]
    entries += [body("a", 0.1, 1.9, 1.0, task="spin"), body("b", 0.1, 1.9, 1.0, tid=8, task="crunch"), gil]
    spin, crunch = reading.read(write(tmp_path, *entries), KNOWN).runs
    assert spin.gil_s == pytest.approx(1.0, abs=0.05)
    assert crunch.gil_s == pytest.approx(0.0, abs=0.15)


def test_cpu_of_a_librarys_threads_makes_a_task_wide(tmp_path):
    gil = {"k": "gil", "pid": DRIVER, "names": [""], "xtx": [[0.0]], "xty": [0.0], "pool": {"work": 2.0}}
    entries = [*flow(0.0, 3.0), submit("a", 0.0), body("a", 0.0, 2.0, 0.2), gil]
    (run,) = reading.read(write(tmp_path, *entries), KNOWN).runs
    assert run.cpu_s == pytest.approx(2.2)
    assert run.alone_s <= 2.0


def test_a_task_waits_for_threads_of_its_own_as_far_as_these_compute(tmp_path):
    threads = [(20, 0.5, 3.5, 2.9), (21, 0.5, 3.5, 2.9)]
    write(tmp_path, *flow(0.0, 4.0), submit("a", 0.0), body("a", 0.0, 4.0, 0.1, threads=threads))
    (run,) = reading.read(tmp_path, KNOWN).runs
    assert run.cpu_s == pytest.approx(5.9)
    assert run.width == 2.0
    assert run.wait_s == pytest.approx(1.0, abs=0.05)

    # They wait themselves, as for a service: then the task does too.
    look = {str(DRIVER): {"gil": [], "wait": [7, 20, 21]}}
    looks = [{"t": i / 50, "by": look} for i in range(200)]
    (tmp_path / "looks.jsonl").write_text("".join(json.dumps(one) + "\n" for one in looks))
    idle = [(tid, begin_s, end_s, 0.01) for tid, begin_s, end_s, _ in threads]
    write(tmp_path, *flow(0.0, 4.0), submit("a", 0.0), body("a", 0.0, 4.0, 0.1, threads=idle))
    (run,) = reading.read(tmp_path, KNOWN).runs
    assert run.wait_s == pytest.approx(3.9, abs=0.1)


def test_a_flow_that_left_no_trace_is_refused(tmp_path):
    with pytest.raises(NoProfileError, match="etl cannot be profiled"):
        reading.read(write(tmp_path), KNOWN)


def test_the_last_line_of_a_killed_process_may_be_half(tmp_path):
    folder = write(tmp_path, *flow(0.0, 1.0), submit("a", 0.1), body("a", 0.2, 0.8))
    with open(folder / f"{DRIVER}.jsonl", "a") as file:
        file.write('{"k":"bo')
    assert len(reading.read(folder, KNOWN).runs) == 1


def test_sizes_are_those_of_the_pickle_and_arrays_are_not_copied(tmp_path):
    import numpy

    found = probe.Probe(str(tmp_path))
    assert found.size(b"x" * 1000, "a") == pytest.approx(1000, abs=50)
    assert found.size(numpy.zeros(1_000_000), "a") == pytest.approx(8_000_000, rel=0.01)
    assert found.size(threading.Lock(), "a") is None


def test_taking_sizes_stops_where_it_would_cost_too_much(tmp_path):
    found = probe.Probe(str(tmp_path))
    found._sizing_s = 1e6
    # The first value of each kind is worth it.
    assert found.size(b"x", "result of load") is not None
    assert found.size(b"x", "result of load") is None
    assert found.size(b"x", "result of parse") is not None


def test_the_one_thread_that_helps_with_blas_is_busy_when_it_computes_all_the_time(tmp_path):
    """On two cores BLAS has two threads: the caller's, and one that helps it."""
    gil = {"k": "gil", "pid": DRIVER, "names": [""], "xtx": [[0.0]], "xty": [0.0], "pool": {"work": 2.0}, "queued": {}}
    pools = {"k": "pools", "pools": [{"library": "openblas", "threads": 2}]}
    runs = [(f"run-{i}", i + 10) for i in range(4)]
    bodies = [body(run, 0.0, 2.0, 0.5, tid=tid) for run, tid in runs]
    entries = [*flow(0.0, 3.0), *(submit(run, 0.0) for run, _ in runs), *bodies, gil, pools]
    for run in reading.read(write(tmp_path, *entries), KNOWN).runs:
        assert (run.cpu_s, run.wait_s, run.width) == pytest.approx((1.0, 0.0, 2.0))


def test_a_size_that_was_not_taken_is_that_of_its_task(tmp_path):
    entries = [*flow(0.0, 3.0), submit("a", 0.1), submit("b", 0.1)]
    entries += [body("a", 0.5, 1.0, arg=100, out=50_000_000), body("b", 1.0, 2.0, arg=100, out=None)]
    found = reading.read(write(tmp_path, *entries), KNOWN).runs
    assert [run.out_bytes for run in found] == [50_000_000, 50_000_000]


def test_runs_that_wait_for_one_busy_pool_of_a_library_wait_for_each_other(tmp_path):
    # Four at once, each of which would take 0.5 s of two cores alone; together 2 s, and all of them wait all along.
    gil = {"k": "gil", "pid": DRIVER, "names": [""], "xtx": [[0.0]], "xty": [0.0], "pool": {"work": 4.0}, "queued": {}}
    runs = [(f"run-{i}", i + 10) for i in range(4)]
    bodies = [body(run, 0.0, 2.0, 0.01, tid=tid) for run, tid in runs]
    entries = [*flow(0.0, 3.0), *(submit(run, 0.0) for run, _ in runs), *bodies, gil]
    for run in reading.read(write(tmp_path, *entries), KNOWN).runs:
        assert run.cpu_s == pytest.approx(1.01)
        assert run.alone_s < 1.1
