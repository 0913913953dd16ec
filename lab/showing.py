"""The command `demo`."""

from __future__ import annotations

from lab.console import OUT


def demo() -> None:
    """Take the tutorial's tour: flows, a deployment, its worker and schedule; about two minutes, nothing is left.

    Example: runner-lab demo
    """
    from lab.demo import demo as tour

    tour(OUT)
