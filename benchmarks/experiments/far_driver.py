"""The driver of `hosts`, a process on a host of its own: one flow on a cluster that others have started.

What it sees it writes into `facts.json` of its folder, whole at any moment.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runner_lab.benchmarks.experiments.frame.facts_file import FactsFile
from runner_lab.benchmarks.measuring import quiescence
from runner_lab.benchmarks.measuring.lab_graphs import measure_graph, warm_up
from runner_lab.benchmarks.measuring.measure import Site, blank_record, error_line, measure
from runner_lab.benchmarks.measuring.remote_cluster import own_address, sent_by_value
from runner_lab.benchmarks.session.plan import PlannedCell, Stage
from runner_lab.records.graph import GraphSpec
from runner_lab.runners import catalog
from runner_lab.runners.engine import Cluster, ClusterSettings, Engine
from runner_lab.runners.isolation.guard import guarded
from runner_lab.runners.isolation.supervised import module, without_mark
from runner_lab.runners.isolation.waiting import last_within
from runner_lab.runners.server import START_LIMIT_S, existing_server

FACTS = "facts.json"
MENDED = "mended"
"""File by which this process is told that the network is whole again."""
RECORD_LIMIT_S = 60.0
REJOIN_LIMIT_S = 20.0
_CONNECT_LIMIT_S = 120.0


@dataclass(frozen=True)
class Assignment:
    """What the process is to do.

    api_url, cluster: addresses.
    folder: for its facts and the stints' ledger.
    count, seconds: stints, and how long each of them takes; with none, the lab's own graph is measured instead.
    limit_s: how long the flow may wait for its stints.
    """

    arm: str
    api_url: str
    cluster: str
    folder: str
    count: int = 0
    seconds: float = 0.0
    limit_s: float = 0.0

    def command(self) -> list[str]:
        return module(__name__, json.dumps(asdict(self)))


def main(arguments: str) -> None:
    asked = Assignment(**json.loads(arguments))
    folder = Path(asked.folder)
    facts = FactsFile(folder / FACTS)
    with guarded() as scratch:
        server = existing_server(asked.api_url, START_LIMIT_S)
        found = catalog.load()
        spec = found.arms[asked.arm].with_workers(2)
        engine = found.engine(spec)
        last_within(lambda: _answers(asked.cluster), _CONNECT_LIMIT_S)
        with engine.cluster(2, ClusterSettings(asked.cluster, timeout_s=_CONNECT_LIMIT_S), scratch) as cluster:
            last_within(lambda: _workers(engine, cluster) >= 2, _CONNECT_LIMIT_S)
            facts.note({"workers": _workers(engine, cluster)})
            site = Site(server, engine, cluster, scratch, 300.0, RECORD_LIMIT_S)
            if asked.count:
                runner = engine.task_runner(spec, cluster, scratch)
                _stints(asked, runner, facts, lambda: _workers(engine, cluster))
            else:
                _graph(PlannedCell("overhead", GraphSpec(width=2), spec, 0, Stage(spec.engine, 2)), site, facts)
            facts.note({"done": True})
            quiescence.send_rest()


def _graph(cell: PlannedCell, site: Site, facts: FactsFile) -> None:
    @contextmanager
    def ready(_: PlannedCell) -> Iterator[Site]:
        warm_up(cell, site)
        yield site

    record = measure(cell, 0, ready, blank_record(cell, "hosts", {}), measure_graph)
    facts.note({"record": asdict(record)})


def _stints(asked: Assignment, runner: Any, facts: FactsFile, workers: Any) -> None:
    from runner_lab.flows.experiments.stints import stints

    folder = Path(asked.folder)
    for name in ("warm", "ledger"):
        (folder / name).mkdir()
    flow = stints.with_options(task_runner=runner)
    with sent_by_value():
        # Both workers import Prefect now, and no stint waits for it.
        flow(2, 1.0, str(folder / "warm"), asked.limit_s)
        facts.note({"called_s": time.monotonic()})
        ended: Any = None
        try:
            ended = flow(asked.count, asked.seconds, str(folder / "ledger"), asked.limit_s)
        except Exception as error:
            facts.note({"raised": error_line(error)})
        facts.note({"returned_s": time.monotonic()})
    last_within((folder / MENDED).exists, asked.limit_s)
    if ended is not None:
        facts.note({"results": sorted(ended.results), "errors": ended.errors})
        settled = quiescence.wait_settled(asked.api_url, ended.flow_run_id, asked.count, RECORD_LIMIT_S)
        facts.note({"states": settled.states, "flow_state": settled.flow_state})
    last_within(lambda: workers() >= 2, REJOIN_LIMIT_S)
    facts.note({"workers_after": workers()})


def _answers(address: str) -> bool:
    try:
        return bool(own_address(address))
    except OSError:
        return False


def _workers(engine: Engine, cluster: Cluster) -> int:
    """Workers that the cluster believes to be alive, each of one slot; 0 where it cannot be asked."""
    try:
        return engine.slots(cluster) or 0
    except Exception:
        return 0


if __name__ == "__main__":
    without_mark()
    main(*sys.argv[1:])
