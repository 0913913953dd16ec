"""Work drawn at random, which no fit has seen: what the runner that is named takes, and what the best one takes."""

from runner_lab.benchmarks.profiles import Suite
from runner_lab.records.cell_id import DRAWN

SUITE = Suite(DRAWN, drawn=True, without=frozenset({"bare", "control"}))


def bench_regret(cell, measured):
    measured(cell)
