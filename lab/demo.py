"""The command `demo`: the tutorial's tour."""

from __future__ import annotations

from runner_lab.lab.console import OUT


def demo() -> None:
    """Take a tour of two minutes: flows, a deployment, its schedule; nothing is left.

    Example: runner-lab demo
    """
    from runner_lab.lab import tour

    tour.take(OUT)
