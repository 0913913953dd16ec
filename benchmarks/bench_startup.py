"""What a user meets with the defaults: nothing runs yet; cluster, first result, end."""

from runner_lab.benchmarks.profiles import Suite

SUITE = Suite("startup", cold=True)


def bench_startup(cell, measured):
    measured(cell)
