"""What runners do across hosts, and when a link between them is cut in mid-run.

Prefect's server, the flow, and the two workers of a Dask or Ray cluster are on a host each, with an address of its own.
The cluster is started by its own command lines, from an environment without this project.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from runner_lab.benchmarks.experiments.bare_environment import bare_python
from runner_lab.benchmarks.experiments.far_clusters import CLUSTERS, process_on
from runner_lab.benchmarks.experiments.far_driver import FACTS, MENDED, Assignment
from runner_lab.benchmarks.experiments.frame.experiment import Experiment, Facts, Scene, SetUp, clustered
from runner_lab.benchmarks.experiments.frame.facts_file import read
from runner_lab.benchmarks.experiments.network import Network
from runner_lab.flows.graph.ledger import Ledger
from runner_lab.records.findings import Judgement, Symbol
from runner_lab.reports.words import units
from runner_lab.runners.engine import Cluster
from runner_lab.runners.isolation.environment import environment
from runner_lab.runners.isolation.waiting import last_within
from runner_lab.runners.spec import RunnerSpec

SUITE = "hosts"
STINTS = 8
STINT_S = 3.0
LIMIT_S = 240.0
"""For the flow of one experiment, from its first stint: what is not over by then hangs."""
_START_LIMIT_S = 300.0


@dataclass(frozen=True)
class Cut:
    """What is cut, once a task has begun on the far worker.

    host: whose link; none where the network stays whole.
    seconds: for how long at most; it is mended before where the flow has returned.
    least_s: for how long at least.
    """

    id: str
    title: str
    host: str = ""
    seconds: float = 0.0
    least_s: float = 0.0


CUTS = (
    Cut("across", "the lab's graph, with nothing cut"),
    Cut("worker-10s", "a worker's link cut for 10 s", "right", 10.0, 10.0),
    Cut("server-20s", "the server's link cut for 20 s", "server", 20.0, 20.0),
    Cut("driver-20s", "the driver's link cut for 20 s", "driver", 20.0, 20.0),
    Cut("worker-gone", "a worker's link cut until the flow has returned", "right", 150.0, 10.0),
)


@contextmanager
def _cluster(arm: RunnerSpec, scratch: Path, settings: Mapping[str, Any]) -> Iterator[Cluster]:
    net = Network.from_json(settings["network"])
    with CLUSTERS[arm.engine](net["left"], net["right"], bare_python(scratch / "bare"), scratch) as address:
        yield Cluster(address, local=False)


SET_UP = SetUp(_cluster, lambda arm: arm.engine)
"""One cluster serves stock and lean, until an experiment has lost it a worker."""


def measure(scene: Scene, cut: Cut) -> None:
    """Run a flow on host `driver`, and cut a link meanwhile."""
    assert scene.cluster is not None
    assert scene.cluster.address is not None
    net = Network.from_json(scene.settings["network"])
    request = Assignment(scene.arm.name, scene.api_url, scene.cluster.address, str(scene.folder))
    if cut.host:
        request = replace(request, count=STINTS, seconds=STINT_S, limit_s=LIMIT_S)
    ledger = Ledger(scene.folder / "ledger")
    variables = environment(scene.folder, scene.api_url)
    with process_on(net["driver"], request.command(), scene.folder, "driver", variables, own_log=False) as driver:

        def returned() -> bool:
            return driver.over() or "returned_s" in read(scene.folder / FACTS)

        if cut.host:
            last_within(lambda: returned() or _begun_on(ledger, "right"), _START_LIMIT_S)
            time.sleep(1.0)
            scene.note(cut_s=time.monotonic())
            with net.cut_off(cut.host):
                time.sleep(cut.least_s)
                # Where nothing is left to wait for, a link that stays down shows no more.
                last_within(returned, cut.seconds - cut.least_s)
            scene.note(mended_s=time.monotonic())
            (scene.folder / MENDED).touch()
        last_within(driver.over, LIMIT_S + _START_LIMIT_S)
        scene.note(ended=driver.process.poll())
    scene.note(**read(scene.folder / FACTS))
    if cut.host:
        entries = ledger.entries()
        scene.note(
            begun=sum(entry.name == "begun" for entry in entries),
            on=sorted({entry.hostname for entry in entries}),
        )


def _begun_on(ledger: Ledger, host: str) -> bool:
    return any(entry.hostname == host for entry in ledger.entries())


def _lost_a_worker(facts: Facts) -> bool:
    return facts.get("workers_after", 0) < 2


def judge_across(arm: RunnerSpec, facts: Facts) -> Judgement:
    """The graph itself: right results, every task run recorded, and bodies on the other hosts."""
    record = facts.get("record")
    if record is None:
        return Judgement("unknown", f"no record (exit code {facts.get('ended')})", _LOG)
    if record["status"] != "ok":
        return Judgement("bad", record["error"], "See that the workers reach the server and the driver.")
    recorded = f"{record['recorded']} of {record['expected_recorded']} task runs recorded"
    symbol: Symbol = "ok" if record["recorded"] == record["expected_recorded"] else "bad"
    return Judgement(symbol, f"right result, bodies on {' and '.join(record['hosts']) or 'no other host'}, {recorded}")


def judge_cut(arm: RunnerSpec, facts: Facts) -> Judgement:
    """A flow of stints with a link cut in the middle."""
    if "cut_s" not in facts or not facts.get("begun"):
        return Judgement("unknown", f"no stint began (exit code {facts.get('ended')})", _LOG)
    if "returned_s" not in facts:
        return Judgement("bad", _with_runs("the flow never returns", facts), _TIMEOUT)
    when = _when(facts)
    if "raised" in facts:
        return Judgement("bad", _with_runs(f"the flow fails {when}: {facts['raised'][:80]}", facts), _RERUN)
    missing = STINTS - len(facts["results"])
    ended = facts["states"].get("Completed", 0)
    told = "" if ended == STINTS else f", {ended} of {STINTS} Completed in the API ({units.counted(facts['states'])})"
    if facts["flow_state"] != "Completed":
        told += f", flow run {facts['flow_state']}"
    if missing:
        words = f"{missing} of {STINTS} results lost, flow over {when}{told}"
        return Judgement("bad", _with_runs(words, facts), _RERUN)
    words = _with_runs(f"all results {when}{told}", facts)
    if told:
        return Judgement("bad", words, "Do not take the API's word for it: ask the flow's results.")
    again = facts["begun"] > STINTS or facts.get("workers_after", 0) < facts.get("workers", 0)
    return Judgement("warn" if again else "ok", words, _IDEMPOTENT if again else "")


_LOG = "Look into hosts.log beside the findings."
_TIMEOUT = "Give every wait a timeout and the flow a timeout_seconds."
_RERUN = "Let the flow be run again: retries on the flow, results persisted where all hosts reach them."
_IDEMPOTENT = "Tasks must stand being run twice; have workers started again by what started them."


def _when(facts: Facts) -> str:
    since_s = facts["returned_s"] - facts["mended_s"]
    down_s = facts["mended_s"] - facts["cut_s"]
    if since_s < 0.5:
        return f"{facts['returned_s'] - facts['cut_s']:.0f} s after the cut, before the repair"
    return f"{since_s:.0f} s after the repair (down {down_s:.0f} s)"


def _with_runs(words: str, facts: Facts) -> str:
    again = facts["begun"] - STINTS
    if again > 0:
        words += f"; {again} run again"
    lost = facts.get("workers", 0) - facts.get("workers_after", facts.get("workers", 0))
    return f"{words}; the worker does not come back" if lost > 0 else words


def _experiment(cut: Cut) -> Experiment:
    judged: Callable[[RunnerSpec, Facts], Judgement] = judge_cut if cut.host else judge_across
    return Experiment(
        id=cut.id,
        group="hosts",
        title=cut.title,
        measure=partial(measure, cut=cut),
        judge=judged,
        limit_s=2 * _START_LIMIT_S + LIMIT_S + 120.0,
        spoils=_lost_a_worker if cut.host else False,
        engines=clustered,
        set_up=SET_UP,
    )


EXPERIMENTS = tuple(_experiment(cut) for cut in CUTS)
