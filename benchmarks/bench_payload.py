"""What it costs to hand data from task to task; `overhead` has the same graph with none."""

from runner_lab.benchmarks.profiles import Suite

SUITE = Suite("payload")


def bench_payload(cell, measured):
    measured(cell)
