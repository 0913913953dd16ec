"""A figure and how sure it is. Apart from `reports.analysis.statistics`, which makes them and needs scipy for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval (`None` where one measurement gives none) and the `n` it comes from."""

    value: float
    low: float | None
    high: float | None
    n: int

    @property
    def vague(self) -> bool:
        """True where the interval spans more than a factor of 100, as two blocks that disagree will give."""
        return self.low is not None and self.high is not None and 0 < self.low * 100 < self.high
