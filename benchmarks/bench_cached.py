"""Every result from the cache: a first pass, not measured, fills it, and the measured one must run no body."""

from runner_lab.benchmarks.profiles import Suite

SUITE = Suite("cached")


def bench_cached(cell, measured):
    measured(cell)
