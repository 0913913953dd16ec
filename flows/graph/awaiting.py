"""The graph's wiring for an event loop: what `flows.graph.wiring` submits to a runner is awaited together here.

Of its own, since an async flow is written another way: a lane awaits its upstream, and no handle is passed on.
"""

from __future__ import annotations

import asyncio
import time

from runner_lab.flows.graph.wiring import Nodes, Outcome, of_hello
from runner_lab.records.graph import GraphSpec, said, summarise


async def await_wired(spec: GraphSpec, ledger: str, nodes: Nodes) -> Outcome:
    """Run the graph: each lane its hello and world at once, then its greet; all lanes at once, then the gather."""
    outcome = Outcome(begun_s=time.monotonic())

    async def greeting(lane: int) -> str:
        greeted, name = await asyncio.gather(_hello(spec, lane, ledger, nodes), nodes.world(lane, ledger))
        text: str = await nodes.greet(greeted, name, ledger)
        outcome.see(lane)
        return text

    lanes = []
    for lane in range(spec.width):
        outcome.submits_s.append(time.monotonic())
        lanes.append(greeting(lane))
    together = asyncio.gather(*lanes)
    outcome.submitted_s = time.monotonic()
    outcome.result = await nodes.gather(ledger, *await together)
    outcome.done_s = time.monotonic()
    return outcome


async def await_map(spec: GraphSpec, ledger: str, nodes: Nodes) -> Outcome:
    """Run independent tasks, all at once."""
    outcome = Outcome(begun_s=time.monotonic())

    async def hello(lane: int) -> tuple[str, bytes]:
        greeted = await _hello(spec, lane, ledger, nodes)
        outcome.see(lane)
        return greeted

    hellos = []
    for lane in range(spec.width):
        outcome.submits_s.append(time.monotonic())
        hellos.append(hello(lane))
    together = asyncio.gather(*hellos)
    outcome.submitted_s = time.monotonic()
    results = await together
    outcome.done_s = time.monotonic()
    outcome.result = summarise(said(*result) for result in results)
    return outcome


async def _hello(spec: GraphSpec, lane: int, ledger: str, nodes: Nodes) -> tuple[str, bytes]:
    greeted: tuple[str, bytes] = await nodes.hello(*of_hello(spec, lane, ledger))
    return greeted
