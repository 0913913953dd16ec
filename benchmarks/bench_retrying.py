"""Each hello fails, then succeeds."""

from runner_lab.benchmarks.profiles import Suite

SUITE = Suite("retrying")


def bench_retrying(cell, measured):
    measured(cell)
