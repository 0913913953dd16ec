"""The suites: `faults`, `equivalence`, `placement`, `hosts`. The other files have their experiments."""

from __future__ import annotations

from runner_lab.benchmarks.experiments import network
from runner_lab.benchmarks.experiments.far_clusters import CLUSTERS, across_hosts
from runner_lab.benchmarks.experiments.frame.experiment import WORKERS
from runner_lab.benchmarks.experiments.frame.suite import ExperimentSuite, every_arm
from runner_lab.runners import catalog
from runner_lab.runners.spec import RunnerSpec


def _arms(*names: str) -> list[RunnerSpec]:
    return catalog.load().select(names, WORKERS)


FAULTS = ExperimentSuite(
    "faults",
    "What happens when things go wrong",
    ("tasks", "workers", "values", "slots", "stopped", "absent", "volume"),
)
EQUIVALENCE = ExperimentSuite(
    "equivalence",
    "The same behaviour under every runner",
    ("cache", "same-key", "retries"),
    lambda: [*_arms("sequential"), *every_arm()],
)
PLACEMENT = ExperimentSuite(
    "placement",
    "Can a task run on dedicated infrastructure?",
    ("dask", "ray", "background", "deployment"),
    # Lean runners first: they are quick, and what was found stays when the rest is interrupted.
    lambda: [
        *_arms("lean-dask", "dask", "lean-ray", "ray", "threads"),
        RunnerSpec("prefect", "none", "prefect.task_runners.PrefectTaskRunner"),
    ],
)
HOSTS = ExperimentSuite(
    "hosts",
    "Across hosts, and when a link is cut",
    ("hosts",),
    # An engine after another, as its arms share a cluster; its lean runner first, as above.
    lambda: sorted((arm for arm in every_arm() if arm.engine in CLUSTERS), key=lambda arm: (arm.engine, not arm.lean)),
    across_hosts,
    network.check,
)
