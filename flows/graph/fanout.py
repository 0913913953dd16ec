"""The graph as a Prefect flow: one flow for all arms, `fanout.with_options(task_runner=...)`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from prefect import flow, runtime, task
from prefect.cache_policies import INPUTS, NO_CACHE, TASK_SOURCE

from runner_lab.flows.graph import bodies
from runner_lab.flows.graph.wiring import DirectCalls, Nodes, Outcome, PrefectSubmits, wire, wire_map
from runner_lab.records.graph import GraphSpec


def _nodes(**options: Any) -> Nodes:
    return Nodes(
        hello=task(name="create_hello", **options)(bodies.hello),
        world=task(name="create_world", **options)(bodies.world),
        greet=task(name="greet", **options)(bodies.greet),
        gather=task(name="gather", **options)(bodies.gather),
    )


_PLAIN = _nodes(cache_policy=NO_CACHE, persist_result=False)

# The ledger's folder is one of the inputs, and each cell has its own: so a key holds within a cell, and for no other.
_CACHED = _nodes(cache_policy=INPUTS + TASK_SOURCE, persist_result=True, cache_expiration=timedelta(hours=1))


def nodes(spec: GraphSpec) -> Nodes:
    """The graph's tasks, with the options of its variant."""
    if spec.variant == "cached":
        return _CACHED
    if spec.variant == "retrying":
        hello = _PLAIN.hello.with_options(retries=spec.failures, retry_delay_seconds=spec.retry_delay_s)
        return Nodes(hello, _PLAIN.world, _PLAIN.greet, _PLAIN.gather)
    return _PLAIN


@flow(name="fanout", persist_result=False)
def fanout(spec: GraphSpec, ledger: str, direct: bool = False) -> Outcome:
    """Run the graph under the flow's task runner, or by direct calls.

    Args:
        spec: the graph.
        ledger: folder in which the bodies count themselves; it must exist and be reachable by the workers.
        direct: call the tasks instead of submitting them, so that no runner takes part.
    """
    run = wire_map if spec.variant == "map" else wire
    outcome = run(spec, ledger, nodes(spec), DirectCalls() if direct else PrefectSubmits())
    outcome.flow_run_id = runtime.flow_run.id
    return outcome
