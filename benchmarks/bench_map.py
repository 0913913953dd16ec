"""Independent tasks that do nothing, in several widths: what one more task costs is a slope and not a quotient."""

from runner_lab.benchmarks.profiles import Suite

SUITE = Suite("map")


def bench_map(cell, measured):
    measured(cell)
