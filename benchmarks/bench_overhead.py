"""The hello/world fan-out when its tasks do nothing, as `payload`, `cached` and `retrying` have it with more."""

from runner_lab.benchmarks.profiles import Suite

SUITE = Suite("overhead")


def bench_overhead(cell, measured):
    measured(cell)
