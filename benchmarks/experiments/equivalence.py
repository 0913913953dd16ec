"""Do caching and retries behave alike under every runner, and as Prefect's documentation says?

What ran is counted by the bodies themselves, in a file outside Prefect.
"""

from __future__ import annotations

from runner_lab.benchmarks.experiments import caching, locking, retrying
from runner_lab.benchmarks.experiments.experiment import ARMS, Suite

SUITE = Suite(
    name="equivalence",
    module="runner_lab.benchmarks.experiments.equivalence",
    title="The same behaviour under every runner",
    arms=("sequential", *ARMS),
    experiments=(*caching.EXPERIMENTS, *locking.EXPERIMENTS, *retrying.EXPERIMENTS),
)
