"""The bodies as `async def`: waiting lets the other tasks of the event loop run, computing does not."""

from __future__ import annotations

import asyncio

# One by one: what is sent to a worker by value cannot take a module along.
from runner_lab.flows.graph.bodies import gather as plain_gather
from runner_lab.flows.graph.bodies import greet as plain_greet
from runner_lab.flows.graph.bodies import perform, recorded, spoken
from runner_lab.flows.graph.bodies import world as plain_world
from runner_lab.flows.graph.ledger import ledger_at
from runner_lab.records.graph import Work


async def hello(
    lane: int, work: Work, payload_bytes: int, failures: int, ledger: str, batch: int = 1
) -> tuple[str, bytes]:
    """Do the work of each item of the batch, one after another.

    Raises:
        PlannedFailure: in the first `failures` executions of this lane.
    """
    attempt = ledger_at(ledger).attempts("hello", lane) if failures else 0
    with recorded(ledger, "hello", lane):
        for _ in range(batch):
            if work.kind == "sleep":
                await asyncio.sleep(work.seconds)
            else:
                perform(work)
        return spoken(lane, payload_bytes, attempt, failures)


async def world(lane: int, ledger: str) -> str:
    return plain_world(lane, ledger)


async def greet(greeted: tuple[str, bytes], name: str, ledger: str) -> str:
    """Raises:
    ValueError: hello and world are not of one lane.
    """
    return plain_greet(greeted, name, ledger)


async def gather(ledger: str, *greetings: str) -> str:
    return plain_gather(ledger, *greetings)
