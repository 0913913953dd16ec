"""The bodies do their work, and count themselves outside Prefect."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from runner_lab.flows.graph import bodies
from runner_lab.flows.graph.bodies import PlannedFailure, perform
from runner_lab.flows.graph.ledger import Execution, Ledger
from runner_lab.records.graph import Work, greeting, payload

APPEND = """
import os, sys
from runner_lab.flows.graph.ledger import Execution, Ledger
sys.stdin.readline()
for lane in range(int(sys.argv[2])):
    Ledger(sys.argv[1]).write(Execution("hello", lane, os.getpid(), 1.0, 2.0))
"""


def test_ledger_counts_what_processes_append_at_once(tmp_path):
    writers = [
        subprocess.Popen([sys.executable, "-c", APPEND, str(tmp_path), "200"], stdin=subprocess.PIPE) for _ in range(4)
    ]
    for writer in writers:
        writer.stdin.write(b"go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.stdin.close()
        assert writer.wait() == 0

    entries = Ledger(tmp_path).entries()
    assert len(entries) == 800
    assert {(entry.pid, entry.lane) for entry in entries} == {(w.pid, lane) for w in writers for lane in range(200)}


def test_ledger_counts_what_threads_of_one_process_append_at_once(tmp_path):
    def write(first):
        for lane in range(first, first + 100):
            Ledger(tmp_path).write(Execution("world", lane, os.getpid(), 1.0, 2.0))

    threads = [threading.Thread(target=write, args=(first,)) for first in range(0, 400, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(entry.lane for entry in Ledger(tmp_path).entries()) == list(range(400))


def test_ledger_leaves_out_the_half_line_of_a_killed_process(tmp_path):
    whole = Execution("hello", 0, 11, 1.0, 2.0)
    Ledger(tmp_path).write(whole)
    with open(tmp_path / "11.jsonl", "a") as file:
        file.write('{"name": "hello", "lane": 1, "pi')
    Ledger(tmp_path).write(other := Execution("hello", 2, 12, 1.0, 2.0))

    assert Ledger(tmp_path).entries() == [whole, other]


def test_ledger_without_executions_is_empty(tmp_path):
    assert Ledger(tmp_path).entries() == []
    assert Ledger(tmp_path).attempts("hello", 0) == 0


def test_attempts_are_of_one_task_whatever_the_process(tmp_path):
    for pid, name, lane in [(1, "hello", 0), (2, "hello", 0), (2, "hello", 1), (1, "world", 0)]:
        Ledger(tmp_path).write(Execution(name, lane, pid, 1.0, 2.0))

    assert Ledger(tmp_path).attempts("hello", 0) == 2


def test_hello_fails_as_often_as_planned_and_each_attempt_is_counted(tmp_path):
    for attempt in (1, 2):
        with pytest.raises(PlannedFailure, match=f"hello 3: attempt {attempt} of 2 that fail"):
            bodies.hello(3, Work(), 0, 2, str(tmp_path))

    assert bodies.hello(3, Work(), 5, 2, str(tmp_path)) == ("hello-3", payload(3, 5))
    assert Ledger(tmp_path).attempts("hello", 3) == 3


def test_bodies_record_their_name_lane_process_and_clock(tmp_path):
    before = time.monotonic()
    bodies.world(7, str(tmp_path))
    after = time.monotonic()

    (entry,) = Ledger(tmp_path).entries()
    assert (entry.name, entry.lane, entry.pid) == ("world", 7, os.getpid())
    assert before <= entry.start_s <= entry.end_s <= after


def test_greet_refuses_a_hello_and_a_world_of_two_lanes(tmp_path):
    with pytest.raises(ValueError, match="hello-1 was given world-2"):
        bodies.greet(("hello-1", b""), "world-2", str(tmp_path))


def test_greet_carries_the_checksum_of_what_arrived(tmp_path):
    assert bodies.greet(("hello-1", b""), "world-1", str(tmp_path)) == greeting(1, 0)
    assert bodies.greet(("hello-1", b"x"), "world-1", str(tmp_path)) != greeting(1, 0)


@pytest.mark.parametrize("kind", ["spin", "crunch"])
def test_cpu_work_consumes_its_seconds_of_the_threads_cpu(kind):
    before = time.thread_time()
    perform(Work(kind, 0.05))

    assert time.thread_time() - before >= 0.05


def test_sleep_waits_its_seconds_and_consumes_no_cpu():
    cpu, wall = time.thread_time(), time.monotonic()
    perform(Work("sleep", 0.2))

    assert time.monotonic() - wall >= 0.2
    assert time.thread_time() - cpu < 0.1


@pytest.mark.parametrize(("kind", "others_run"), [("spin", False), ("crunch", True)])
def test_spin_holds_the_gil_and_crunch_lets_go_of_it(kind, others_run):
    """With no forced switches, another thread runs before the work has ended only if the work lets it."""
    begun, ended = [], []

    def work():
        begun.append(True)
        perform(Work(kind, 0.5))
        ended.append(True)

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        while not begun:
            time.sleep(0)
        meanwhile = not ended
    finally:
        sys.setswitchinterval(usual)
        thread.join()

    assert meanwhile is others_run


def test_no_work_does_nothing():
    cpu = time.thread_time()
    perform(Work())

    assert time.thread_time() - cpu < 0.1


def test_an_entry_is_one_short_line(tmp_path):
    """So that one write appends it whole."""
    Ledger(tmp_path).write(Execution("gather", 10**6, 10**6, 123456.123456789, 123456.123456789))

    (line,) = next(iter(tmp_path.iterdir())).read_text().splitlines()
    assert len(line) < 512
    assert json.loads(line)["name"] == "gather"
