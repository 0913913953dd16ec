"""The same as `bench_regret`, Prefect's API as far away as `runner-lab regret --api-latency` says."""

from runner_lab.benchmarks.profiles import Suite
from runner_lab.records.cell_id import DRAWN_FAR

SUITE = Suite(DRAWN_FAR, drawn=True, without=frozenset({"bare", "control"}))


def bench_regret_far(cell, measured):
    measured(cell)
