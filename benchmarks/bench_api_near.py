"""The graphs of `api_far` beside Prefect's API, which those are compared with."""

from runner_lab.benchmarks.profiles import Suite
from runner_lab.records.cell_id import API_NEAR

SUITE = Suite(API_NEAR, api_latency_s=0.0, without=frozenset({"bare", "control"}))


def bench_api_near(cell, measured):
    measured(cell)
