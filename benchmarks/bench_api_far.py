"""Prefect's API 80 ms away: what a task and a flow run then wait for."""

from runner_lab.benchmarks.profiles import FAR_S, Suite
from runner_lab.records.cell_id import API_FAR

SUITE = Suite(API_FAR, api_latency_s=FAR_S, without=frozenset({"bare", "control"}))


def bench_api_far(cell, measured):
    measured(cell)
