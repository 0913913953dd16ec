"""What Prefect Cloud takes of an account in a minute, as its documentation says: none of it is measured.

https://docs.prefect.io/v3/concepts/rate-limits, in the edition of Prefect 3.7. There every HTTP request counts as one
of `requests`, and every event message and every log line as one of `messages`, however many travel together.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Quota:
    """A plan's limits, a minute."""

    plan: str
    requests: int
    messages: int

    def tasks_a_minute(self, requests: float, messages: float) -> float | None:
        """Tasks that the plan leaves room for, each with so many requests and messages; None where neither limits."""
        rooms = [limit / used for limit, used in ((self.requests, requests), (self.messages, messages)) if used > 0]
        return min(rooms, default=None)


QUOTAS = (
    Quota("Hobby", 625, 2_000),
    Quota("Starter", 1_250, 2_800),
    Quota("Team", 2_500, 8_000),
    Quota("Pro", 5_000, 40_000),
)
