"""The same items, one to a task and many to a task: what a batch saves."""

from runner_lab.benchmarks.profiles import Suite

SUITE = Suite("batching", without=frozenset({"bare", "control"}))


def bench_batching(cell, measured):
    measured(cell)
