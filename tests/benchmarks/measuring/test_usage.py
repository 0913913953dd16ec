"""CPU and memory over the process trees, of children that came and went too."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

import pytest

from runner_lab.benchmarks.measuring import usage as metering
from runner_lab.benchmarks.measuring.usage import Meter
from runner_lab.flows.graph.bodies import perform
from runner_lab.records.graph import Work
from runner_lab.runners.isolation import guard
from runner_lab.runners.isolation.waiting import last_within

BURN = "import time\nwhile time.process_time() < 0.5: pass"
HOLD = "data = bytearray(80_000_000); print('up', flush=True); input()"
CHILD_OF_A_CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}])"


@pytest.mark.parametrize("code", [BURN, CHILD_OF_A_CHILD])
def test_a_child_that_has_ended_counts_as_worker(code):
    meter = Meter(None)
    own_s = time.process_time()
    meter.start()
    subprocess.run([sys.executable, "-c", code], check=True)
    usage, _ = meter.stop()
    own_s = time.process_time() - own_s

    assert usage.workers_cpu_s >= 0.45
    # This process may have other tests' threads.
    assert usage.driver_cpu_s <= own_s + 0.1


def test_a_child_that_still_runs_counts_as_worker():
    with subprocess.Popen(
        [sys.executable, "-c", f"input()\n{BURN}\nprint('done', flush=True)\ninput()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        meter = Meter(None)
        meter.start()
        print(file=child.stdin, flush=True)
        child.stdout.readline()
        usage, _ = meter.stop()
        print(file=child.stdin, flush=True)

    assert usage.workers_cpu_s >= 0.4


def test_a_worker_that_nobody_waited_for_counts_and_takes_nothing_with_it():
    grandchild = f"{BURN}\nprint('up', flush=True)\ninput()\nend = time.process_time() + 0.5\n"
    grandchild += "while time.process_time() < end: pass\nprint('done', flush=True)\ninput()"
    # Ignoring SIGCHLD is what keeps the time of a child that has ended from its parent.
    code = "import signal, subprocess, sys\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
    code += f"subprocess.Popen([sys.executable, '-c', {grandchild!r}]).wait()\nprint('gone', flush=True)\ninput()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        child.stdout.readline()
        meter = Meter(None)
        meter.start()
        print(file=child.stdin, flush=True)
        child.stdout.readline()
        meter._sample()
        print(file=child.stdin, flush=True)
        assert child.stdout.readline() == "gone\n"
        usage, _ = meter.stop()
        print(file=child.stdin, flush=True)

    assert 0.4 <= usage.workers_cpu_s < 2.0


def test_what_a_child_burned_before_does_not_count():
    subprocess.run([sys.executable, "-c", BURN], check=True)
    meter = Meter(None)
    meter.start()
    usage, _ = meter.stop()

    assert usage.workers_cpu_s < 0.2


def test_own_cpu_is_the_drivers():
    meter = Meter(None)
    meter.start()
    perform(Work("spin", 0.5))
    usage, _ = meter.stop()

    assert usage.driver_cpu_s >= 0.45
    assert usage.workers_cpu_s < 0.3


def test_the_server_is_apart_from_the_workers():
    with subprocess.Popen(
        [sys.executable, "-c", f"input()\n{BURN}\nprint('done', flush=True)\ninput()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        meter = Meter(server.pid)
        meter.start()
        print(file=server.stdin, flush=True)
        server.stdout.readline()
        usage, _ = meter.stop()
        print(file=server.stdin, flush=True)

    assert usage.server_cpu_s >= 0.4
    assert usage.workers_cpu_s < 0.3
    assert usage.server_rss_bytes > 0


def test_memory_is_the_highest_seen_though_it_was_given_back():
    meter = Meter(None)
    meter.start()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        child.stdout.readline()
        # The meter looks four times a second, when it gets to: until it has looked again.
        last_within(lambda: meter._peaks[1] >= 80_000_000, 300)
        print(file=child.stdin, flush=True)
    usage, _ = meter.stop()

    assert usage.workers_rss_bytes >= 80_000_000


def test_what_cannot_be_seen_is_none():
    meter = Meter(None, local_workers=False)
    meter.start()
    usage, share = meter.stop()

    assert (usage.workers_cpu_s, usage.workers_rss_bytes) == (None, None)
    assert (usage.server_cpu_s, usage.server_rss_bytes) == (None, None)
    assert usage.driver_rss_bytes > 0
    assert share is None


@pytest.fixture
def readings(monkeypatch):
    """A meter between two readings: so many seconds apart, in which the machine's CPUs were busy for so many."""

    def share(apart_s: float, busy_s: float) -> float | None:
        meter = Meter(None)
        first = metering._CpuTimes(100.0, 1.0, 0.0, None, 50.0)
        read = [first, replace(first, at_s=100.0 + apart_s, machine_busy_s=50.0 + busy_s)]
        monkeypatch.setattr(meter, "_cpu", lambda: read.pop(0))
        meter.start()
        return meter.stop()[1]

    monkeypatch.setattr(metering.psutil, "cpu_count", lambda: 4)
    return share


def test_the_share_of_others_is_that_of_the_time_between_the_readings(readings):
    assert readings(10.0, 4.0) == pytest.approx(0.1, rel=0.05)
    assert readings(0.5, 50.0) == 1.0
    assert readings(0.1, 0.1) is None, "CPU clocks tick in hundredths of a second"


def test_the_guard_is_no_worker():
    meter = Meter(None)
    with guard.guarded(), subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        guards = set(guard.running)
        workers, _ = meter._trees()
        child.communicate(b"\n")

    assert child.pid in {process.pid for process in workers}
    assert guards
    assert guards.isdisjoint(process.pid for process in workers)


def test_one_look_at_the_machine_tells_both_trees(monkeypatch):
    family = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    looks = []
    look = metering._descendants
    monkeypatch.setattr(metering, "_descendants", lambda process: looks.append(process) or look(process))
    with subprocess.Popen(
        [sys.executable, "-c", family], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        server.stdout.readline()
        workers, found = Meter(server.pid)._trees()
        server.communicate("\n")

    assert len(looks) == 1
    assert (found[0].pid, len(found)) == (server.pid, 2)
    assert not {process.pid for process in found} & {process.pid for process in workers}
