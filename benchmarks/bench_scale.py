"""The same empty graph from narrow to very wide: does a task still cost what it cost, and does the server keep up?"""

from runner_lab.benchmarks.profiles import Suite

SUITE = Suite("scale", wide=True, without=frozenset({"bare", "direct"}))


def bench_scale(cell, measured):
    measured(cell)
