"""How small a task may be: its duration is searched for, until half of the time is useful work."""

from runner_lab.benchmarks.profiles import Suite

SUITE = Suite("metg", search=True, without=frozenset({"bare", "control"}))


def bench_metg(cell, measured):
    measured(cell)
