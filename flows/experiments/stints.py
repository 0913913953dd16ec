"""Tasks that take their time, for a network that is cut meanwhile: what each came to, as the flow sees it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any

from prefect import flow, runtime, task
from prefect.cache_policies import NO_CACHE

from runner_lab.flows.graph.ledger import Execution, Ledger

BEGUN = "begun"
ENDED = "ended"


@dataclass(frozen=True)
class Stints:
    """results: by number of the stint. errors: one line for each that gave none."""

    flow_run_id: str
    results: dict[int, int] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)


@task(cache_policy=NO_CACHE, persist_result=False)
def stint(number: int, seconds: float, ledger: str) -> int:
    _note(BEGUN, number, ledger)
    time.sleep(seconds)
    _note(ENDED, number, ledger)
    return number


@flow(persist_result=False)
def stints(count: int, seconds: float, ledger: str, limit_s: float) -> Stints:
    """Submit all, then ask each future for its result.

    Args:
        ledger: folder in which each stint says that it has begun and ended; it must not be reached by the network.
        limit_s: how long to wait for all of them together.
    """
    futures = [stint.submit(number, seconds, ledger) for number in range(count)]
    found = Stints(str(runtime.flow_run.id))
    deadline = time.monotonic() + limit_s
    for number, future in enumerate(futures):
        try:
            result: Any = future.result(timeout=max(1.0, deadline - time.monotonic()))
            found.results[number] = result
        except Exception as error:
            found.errors[number] = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
    return found


def _note(name: str, number: int, ledger: str) -> None:
    now_s = time.monotonic()
    Ledger(ledger).write(Execution(name, number, os.getpid(), now_s, now_s))
