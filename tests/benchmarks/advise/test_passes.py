"""How many threads further passes over a profiled flow have, and what a second pass tells."""

from __future__ import annotations

import pytest

from runner_lab.benchmarks.advise import passes
from runner_lab.benchmarks.advise.profiling import fewer_threads
from runner_lab.records.flow_profile import Crowding, Step, TaskProfile
from tests.reports.profiles import computes, profile, waits


def load(wait_s: float, queued_s: float = 0.0, cpu_s: float = 0.1, out_bytes: float | None = None) -> TaskProfile:
    lasted_s = wait_s + queued_s + cpu_s
    return TaskProfile(
        "load", end_s=lasted_s, cpu_s=cpu_s, wait_s=wait_s, queued_s=queued_s, out_bytes=out_bytes, attempts=1
    )


def by_waits(*waits_s: float):
    """A first pass of 40 tasks on two cores, 8 s each and 10 s in all, and further ones with other waits."""
    first = profile([load(waits_s[0], queued_s=7.9 - waits_s[0])] * 40, wall_s=10.0, fn_s=10.0)
    found = [first]
    for wait_s in waits_s[1:]:
        few = fewer_threads(found)
        assert few, f"no pass in which they wait {wait_s} s"
        found.append(passes.uncrowded(first, profile([load(wait_s)] * 40), few))
    return found


def test_next_pass_takes_no_longer_than_half_as_long_again_as_the_first_if_tasks_wait_as_long():
    # 40 tasks of 4.1 s in 15 s.
    assert fewer_threads(by_waits(4.0)) == 11


def test_there_is_a_third_pass_where_waits_were_those_for_each_other():
    found = by_waits(4.0, 1.0)
    assert fewer_threads(found) == 2
    assert found[-1].crowding["load"].few == 11


@pytest.mark.parametrize("waits_s", [(4.0, 4.0), (4.0, 1.0, 0.1)])
def test_there_is_no_further_pass_where_it_would_tell_nothing_new(waits_s):
    assert fewer_threads(by_waits(*waits_s)) == 0


def test_tasks_that_wait_for_tasks_could_hold_all_of_few_threads():
    inner = load(1.0, queued_s=6.9)
    outer = TaskProfile("outer", end_s=8.0, attempts=1, steps=(Step("submit", (1,)), Step("wait", (1,))))
    assert fewer_threads([profile([outer, inner] * 20, wall_s=10.0, fn_s=10.0)]) == 0


def test_a_pass_that_found_its_work_done_tells_nothing():
    """As one that finds files which the first has made: 0.1 s of CPU then, and none now."""
    first = profile([load(1.0, cpu_s=0.2, out_bytes=100.0)] * 40)
    done = profile([load(1.0, cpu_s=0.01, out_bytes=100.0)] * 40)
    other = profile([load(1.0, cpu_s=0.15, out_bytes=10.0)] * 40)
    assert not passes.uncrowded(first, done, 2).crowding
    assert not passes.uncrowded(first, other, 2).crowding
    assert passes.uncrowded(first, profile([load(1.0, cpu_s=0.15, out_bytes=100.0)] * 40), 2).crowding


def test_tasks_that_do_not_hinder_each_other_have_one_pass():
    assert fewer_threads([profile([load(8.0)] * 40, wall_s=10.0, fn_s=10.0)]) == 0


def test_a_second_pass_tells_what_tasks_take_by_themselves():
    crowded = profile([computes(1.5, 1.0, queued_s=8.0)] * 4 + [waits(4.0)] * 4, fn_s=2.0)
    alone = profile([computes(1.0, 0.5)] * 4 + [waits(1.0)] * 4)
    found = passes.uncrowded(crowded, alone, 2)
    assert [run.cpu_s for run in found.runs[:4]] == pytest.approx([1.0] * 4)
    assert [run.gil_s for run in found.runs[:4]] == pytest.approx([0.5] * 4)
    assert [run.wait_s for run in found.runs[4:]] == pytest.approx([1.0] * 4)
    # What the flow did in the first pass stays.
    assert [run.queued_s for run in found.runs[:4]] == [8.0] * 4
    # 22 s of tasks in 2 s.
    assert found.crowding["compute"] == Crowding(few=2, many=11, cpu=1.5)
    assert found.crowding["wait"] == Crowding(few=2, many=11, wait=4.0)
    assert found.crowding["compute"].at(2) == (1.0, 1.0)
    assert found.crowding["wait"].at(11) == (1.0, 4.0)
    assert found.crowding["wait"].at(100) == (1.0, 4.0)


def test_tasks_that_share_a_librarys_threads_have_one_factor():
    """Which of them these computed for is told by time alone."""
    crowded = profile([computes(3.0, width=2.0), TaskProfile("other", cpu_s=1.0, width=2.0, attempts=1)])
    alone = profile([computes(1.0, width=2.0), TaskProfile("other", cpu_s=1.0, width=2.0, attempts=1)])
    assert {one.cpu for one in passes.uncrowded(crowded, alone, 2).crowding.values()} == {2.0}


def test_a_second_pass_of_other_tasks_tells_nothing():
    crowded = profile([computes(1.5)] * 4)
    assert passes.uncrowded(crowded, profile([computes(1.0)] * 5), 2) == crowded
