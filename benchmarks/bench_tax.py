"""Where a task's time goes, stage by stage: tasks one at a time, the probe on for every second section of them."""

from runner_lab.benchmarks.profiles import Suite

SUITE = Suite("tax")


def bench_tax(cell, measured):
    measured(cell)
