"""How right a run's answers are, in words."""

from __future__ import annotations

from runner_lab.reports.choose.regret import Regret, Tested
from runner_lab.reports.words import units
from runner_lab.reports.words.kinds import SPOKEN


def work(one: Tested) -> str:
    """`77 x CPU 240 ms, 100 kB each, cold`."""
    asked = one.request
    slots = "" if asked.workers is None else f", {asked.workers} slots"
    work = of_work(asked.tasks, asked.kind, asked.seconds, asked.payload_bytes)
    away = "" if asked.api_latency_s is None else f", the API {units.exactly(asked.api_latency_s)} away"
    return f"{work}{slots}, {'cold' if asked.cold else 'warm'}{away}"


def of_work(tasks: int, kind: str, seconds: float, payload_bytes: float) -> str:
    """`77 x CPU 240 ms, 100 kB each`."""
    body = f"{SPOKEN.get(kind, kind)} {units.exactly(seconds)}" if seconds else "empty"
    carrying = f", {units.size(payload_bytes)} each" if payload_bytes else ""
    return f"{tasks:,} x {body}{carrying}"


def lines(found: Regret) -> list[str]:
    """Regret, error of the predictions, and how often their intervals hold."""
    count = units.plural(len(found.tested), "piece")
    return [
        f"On {count} of work that no fit has seen, the named runner took {found.regret_at(0.5):.2f}x the best one's "
        f"time (median), {found.regret_at(1.0):.2f}x at worst.",
        f"Predicted times were {units.percent(found.error_at(0.5))} off (median), {units.percent(found.error_at(0.9))} "
        f"or less in 9 of 10. {units.percent(found.covered)} of the measured times lie within the 90 % interval; its "
        f"ends are {units.times(found.width_at(0.5))} apart (median).",
    ]
