"""The command `demo`: the tutorial's tour."""

from __future__ import annotations

from runner_lab.lab.console import OUT


def demo() -> None:
    """Take the tutorial's tour: flows, a deployment, its worker and schedule; about two minutes, nothing is left.

    Example: runner-lab demo
    """
    from runner_lab.lab import tour

    tour.take(OUT)
