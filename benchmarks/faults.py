"""What does each runner do when things go wrong? The experiments of `runner-lab faults`, by theme."""

from __future__ import annotations

from benchmarks import faults_tasks
from benchmarks.experiment import Suite

SUITE = Suite(
    "faults",
    __name__,
    "What happens when things go wrong",
    (*faults_tasks.EXPERIMENTS,),
)
