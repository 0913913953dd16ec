"""Tasks that wait, in many more slots than there are cores, where a slot is a thread of the flow's process."""

from runner_lab.benchmarks.profiles import Suite

SUITE = Suite("slots", slots=32, without=frozenset({"bare", "control", "direct"}))


def bench_slots(cell, measured):
    measured(cell)
