"""What the distance to Prefect's API changes about an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from runner_lab.reports.choose import ranking
from runner_lab.reports.choose.ranking import Request
from runner_lab.reports.model.model import ArmModel


@dataclass(frozen=True)
class Distance:
    """The runner with the API `latency_s` of a round trip away, and with it as near as the run had it.

    arm, beside: by their labels, far away and `beside_s` away.
    links:       round trips that a task waits for which takes another's result, by arm, the fewest first.
    """

    latency_s: float
    arm: str
    beside_s: float
    beside: str
    links: dict[str, float]


def distance_of(models: Sequence[ArmModel], request: Request) -> Distance | None:
    """For the distance that is asked about, else for the one that the run has measured; None where it has not.

    Args:
        models: as far from the API as the run was.
    """
    measured = [found.costs.api_trips for found in models if found.costs.api_trips is not None]
    if len(measured) < len(models) or not models:
        return None
    beside_s = models[0].costs.api_latency_s
    latency_s = measured[0].latency_s if request.api_latency_s is None else request.api_latency_s
    links = [
        (trips.link, found.arm.label)
        for found in models
        if (trips := found.costs.api_trips) is not None and trips.link is not None
    ]
    asked = replace(request, api_latency_s=None)
    return Distance(
        latency_s=latency_s,
        arm=ranking.named([found.away(latency_s) for found in models], asked).arm.label,
        beside_s=beside_s,
        beside=ranking.named(models, asked).arm.label,
        links={label: trips for trips, label in sorted(links, key=lambda pair: pair[0])},
    )
