"""The graph as a Prefect flow: one for all arms, `fanout.with_options(task_runner=...)`, and one for an event loop."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from prefect import flow, runtime, task
from prefect.cache_policies import INPUTS, NO_CACHE, TASK_SOURCE

from runner_lab.flows.graph import async_bodies
from runner_lab.flows.graph.awaiting import await_map, await_wired
from runner_lab.flows.graph.wiring import DirectCalls, Nodes, Outcome, PrefectSubmits, wire, wire_map, wire_pieces
from runner_lab.records.graph import GraphSpec


def _nodes(functions: Nodes, **options: Any) -> Nodes:
    return Nodes(
        hello=task(name="create_hello", **options)(functions.hello),
        world=task(name="create_world", **options)(functions.world),
        greet=task(name="greet", **options)(functions.greet),
        gather=task(name="gather", **options)(functions.gather),
    )


_ASYNC = Nodes(async_bodies.hello, async_bodies.world, async_bodies.greet, async_bodies.gather)

_UNCACHED: dict[str, Any] = {"cache_policy": NO_CACHE, "persist_result": False}
# The ledger's folder is one of the inputs, and each cell has its own: so a key holds within a cell, and for no other.
_KEPT: dict[str, Any] = {
    "cache_policy": INPUTS + TASK_SOURCE,
    "persist_result": True,
    "cache_expiration": timedelta(hours=1),
}
_PLAIN = {False: _nodes(Nodes(), **_UNCACHED), True: _nodes(_ASYNC, **_UNCACHED)}
_CACHED = {False: _nodes(Nodes(), **_KEPT), True: _nodes(_ASYNC, **_KEPT)}
"""By whether the tasks are asynchronous."""


def nodes(spec: GraphSpec) -> Nodes:
    """The graph's tasks, with the options of its variant."""
    if spec.variant == "cached":
        return _CACHED[spec.asynchronous]
    plain = _PLAIN[spec.asynchronous]
    if spec.variant == "retrying":
        return replace(
            plain, hello=plain.hello.with_options(retries=spec.failures, retry_delay_seconds=spec.retry_delay_s)
        )
    return plain


@flow(name="fanout", persist_result=False)
def fanout(spec: GraphSpec, ledger: str, direct: bool = False) -> Outcome:
    """Run the graph under the flow's task runner, or by direct calls.

    Args:
        spec: the graph.
        ledger: folder in which the bodies count themselves; it must exist and be reachable by the workers.
        direct: call the tasks instead of submitting them, so that no runner takes part.
    """
    run = {"map": wire_map, "pieces": wire_pieces}.get(spec.variant, wire)
    submitter = DirectCalls() if direct else PrefectSubmits(keep=spec.variant != "pieces")
    outcome = run(spec, ledger, nodes(spec), submitter)
    outcome.flow_run_id = runtime.flow_run.id
    return outcome


@flow(name="fanout-awaited", persist_result=False)
async def fanout_awaited(spec: GraphSpec, ledger: str) -> Outcome:
    """Run the graph in this flow's event loop: its tasks are asynchronous, and no runner takes part.

    Args:
        spec: the graph.
        ledger: folder in which the bodies count themselves; it must exist.
    """
    run = await_map if spec.variant == "map" else await_wired
    outcome = await run(spec, ledger, nodes(replace(spec, asynchronous=True)))
    outcome.flow_run_id = runtime.flow_run.id
    return outcome
