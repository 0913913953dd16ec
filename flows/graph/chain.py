"""The chain as a Prefect flow: tasks one at a time, so that each one's time is its own."""

from __future__ import annotations

from collections.abc import Callable

from prefect import flow, runtime, task
from prefect.cache_policies import NO_CACHE

from runner_lab.flows.graph import bodies
from runner_lab.flows.graph.wiring import DirectCalls, Outcome, PrefectSubmits, wire_chain
from runner_lab.records.graph import GraphSpec

_LINK = task(name="link", cache_policy=NO_CACHE, persist_result=False)(bodies.link)


@flow(name="chain", persist_result=False, validate_parameters=False)
def chain(spec: GraphSpec, ledger: str, mark: Callable[[int], object], direct: bool = False) -> Outcome:
    """Run a chain under the flow's task runner, or by direct calls.

    Args:
        spec: the graph, of variant `chain`.
        ledger: folder in which the bodies count themselves; it must exist and be reachable by the workers.
        mark: called with the number of each link before its submit; what it gives travels with the call.
        direct: call the tasks instead of submitting them, so that no runner takes part.
    """
    outcome = wire_chain(spec, ledger, _LINK, DirectCalls() if direct else PrefectSubmits(), mark)
    outcome.flow_run_id = runtime.flow_run.id
    return outcome
