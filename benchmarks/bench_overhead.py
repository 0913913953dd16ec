"""What a task costs when it does nothing: several widths, so that the marginal cost is a slope and not a quotient."""

from runner_lab.benchmarks.profiles import Suite

SUITE = Suite("overhead")


def bench_overhead(cell, measured):
    measured(cell)
