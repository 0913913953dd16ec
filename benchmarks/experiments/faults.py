"""What does each runner do when things go wrong? The experiments of `runner-lab faults`, by theme."""

from __future__ import annotations

from runner_lab.benchmarks.experiments import (
    faults_absent,
    faults_slots,
    faults_stopped,
    faults_tasks,
    faults_values,
    faults_volume,
    faults_workers,
)
from runner_lab.benchmarks.experiments.experiment import Suite

SUITE = Suite(
    "faults",
    __name__,
    "What happens when things go wrong",
    (
        *faults_tasks.EXPERIMENTS,
        *faults_workers.EXPERIMENTS,
        *faults_values.EXPERIMENTS,
        *faults_slots.EXPERIMENTS,
        *faults_stopped.EXPERIMENTS,
        *faults_absent.EXPERIMENTS,
        *faults_volume.EXPERIMENTS,
    ),
)
