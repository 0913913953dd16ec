"""The same graph on 1, 2, 4, ... workers: as many as the machine has cores, and once more than that."""

from runner_lab.benchmarks.profiles import Suite

SUITE = Suite("worker_scaling", resized=True, without=frozenset({"bare", "control", "direct"}))


def bench_worker_scaling(cell, measured):
    measured(cell)
