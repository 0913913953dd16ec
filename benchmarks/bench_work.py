"""Waiting, CPU under the GIL, and CPU outside it."""

from runner_lab.benchmarks.profiles import Suite

SUITE = Suite("work")


def bench_work(cell, measured):
    measured(cell)
