"""Where a task's time goes, stage by stage: tasks one at a time, the probe on for every second section of them."""

from runner_lab.benchmarks.profiles import Suite

SUITE = Suite("task_stages")


def bench_task_stages(cell, measured):
    measured(cell)
