"""Can a task run on dedicated infrastructure? Each way to ask for a place is tried, and where its tasks landed is seen.

A way is proven when every task landed where it was asked to, for each of two places in turn: what lands anywhere, or
always in one place, cannot do that. A way that hangs is stopped, and that is its finding.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runner_lab.benchmarks.experiments.findings_file import chosen, new_folder, write
from runner_lab.benchmarks.experiments.places import GROUPS, VARIABLE
from runner_lab.benchmarks.experiments.ways import WAYS, Way
from runner_lab.benchmarks.measuring import environment, quiescence
from runner_lab.benchmarks.measuring.measure import one_line
from runner_lab.benchmarks.session.interrupts import Interrupts
from runner_lab.benchmarks.session.run_folder import now
from runner_lab.runners import catalog
from runner_lab.runners.engine import Cluster
from runner_lab.runners.isolation.environment import environment as lab_environment
from runner_lab.runners.isolation.environment import free_port, isolated
from runner_lab.runners.isolation.guard import guarded
from runner_lab.runners.server import lab_server

FILE = "placement.json"
LIMIT_S = 300.0
"""For one way under one runner, all its rounds, the start of workers included: after that it is stopped."""
DRIVER = "the flow's process"
NOWHERE = "no worker"

Say = Callable[[str], None]


def run(only: str | None = None, out: Path | None = None, say: Say = lambda line: None) -> dict[str, Any]:
    """Try the ways; `placement.json` is written anew after each, so that Ctrl-C loses none.

    Args:
        only: groups of ways, with commas; all by default.
        out: folder for the findings; `results/<time>-placement` by default.
        say: told what is going on.

    Returns:
        What was written, and `folder`, where.

    Raises:
        AskedError: no such group, or the folder cannot be written to.
        ServerError: the lab's Prefect server does not start.
    """
    groups = chosen("--only", only, list(GROUPS))
    folder = new_folder("placement", out, FILE)
    with ExitStack() as stack:
        scratch = stack.enter_context(guarded())
        port = free_port()
        variables = lab_environment(scratch / "home", f"http://127.0.0.1:{port}/api")
        stack.enter_context(isolated(variables))
        os.environ.pop(VARIABLE, None)
        interrupts = stack.enter_context(Interrupts())
        say("starting the lab's Prefect server")
        server = stack.enter_context(lab_server(scratch / "home", port=port))
        stack.callback(quiescence.send_rest)
        report: dict[str, Any] = {
            "folder": str(folder),
            "started_at": now(),
            "environment": environment.describe(server, "placement"),
            "findings": [],
        }
        # Closed before the server is: what an interrupt leaves up still talks to it.
        findings = stack.enter_context(closing(_findings(groups, scratch, say)))
        for finding in findings:
            report["findings"] = sorted([*report["findings"], finding], key=_as_listed)
            write(folder / FILE, report)
            interrupts.raise_lost()
    return report


def _findings(groups: Sequence[str], scratch: Path, say: Say) -> Generator[dict[str, Any], None, None]:
    left = sum(len(way.runners) for way in WAYS if way.group in groups)
    for group in groups:
        ways = [way for way in WAYS if way.group == group]
        say(f"{group}: starting two places")
        folder = scratch / group
        folder.mkdir()
        with ExitStack() as stack:
            try:
                cluster = stack.enter_context(GROUPS[group](folder))
            except Exception as error:
                left -= len(_tried(ways))
                yield from (_finding(way, arm, error=f"no places: {one_line(error)}") for way, arm in _tried(ways))
                continue
            for way, arm in _tried(ways):
                say(f"{group}: {way.asks} ({arm}), {left} to go")
                left -= 1
                yield try_way(way, arm, cluster, folder)


def _tried(ways: Sequence[Way]) -> list[tuple[Way, str]]:
    """Lean runners first: they are quick, and what was found stays when the rest is interrupted."""
    return sorted(
        ((way, arm) for way in ways for arm in way.runners), key=lambda tried: not tried[1].startswith("lean")
    )


def try_way(way: Way, arm: str, cluster: Cluster, scratch: Path) -> dict[str, Any]:
    """The finding of one way under one runner: what `placement.json` holds of it."""
    from runner_lab.flows.experiments.placement import visits

    flow = visits.with_options(task_runner=_task_runner(arm, cluster, scratch), timeout_seconds=LIMIT_S)
    begun_s = time.monotonic()
    try:
        made = flow(way.flow, _in_turn(way))
    except Exception as error:
        # Prefect's timeout is raised wherever the thread is, and may come out as the error of what it interrupted.
        stopped = time.monotonic() - begun_s >= LIMIT_S
        return _finding(way, arm, error=f"stopped after {LIMIT_S:.0f} s" if stopped else one_line(error))
    return _finding(way, arm, [{**asdict(visit), "landed": _landed(visit.places)} for visit in made])


def _as_listed(finding: dict[str, Any]) -> tuple[int, int]:
    """Where a finding stands in the table: runners of one way beside each other."""
    listed = [(way.flow, way.group) for way in WAYS]
    place = listed.index((finding["way"], finding["group"]))
    return place, WAYS[place].runners.index(finding["runner"])


def _in_turn(way: Way) -> list[str]:
    """There and back: a scheduler that takes its workers in turn must not seem to do as it was asked."""
    return [place for i in range(1 + way.rounds) for place in (way.places if i % 2 == 0 else way.places[::-1])]


def _finding(way: Way, arm: str, visits: Sequence[dict[str, Any]] = (), error: str | None = None) -> dict[str, Any]:
    timed = [visit["seconds"] for visit in visits[len(way.places) :]]
    return {
        "way": way.flow,
        "group": way.group,
        "runner": arm,
        "asks": way.asks,
        "unit": way.unit,
        "needs": way.needs,
        "cannot": way.cannot,
        "proven": bool(visits) and all(visit["landed"] == [visit["asked"]] for visit in visits),
        "placement_ms": round(statistics.median(timed) * 1e3, 1) if timed else None,
        "timed": len(timed),
        "error": error,
        "visits": list(visits),
    }


def _landed(places: Sequence[Any]) -> list[str]:
    names = {
        DRIVER if place.pid == os.getpid() else place.variable or place.worker or f"process {place.pid}"
        for place in places
    }
    return sorted(names) or [NOWHERE]


def _task_runner(arm: str, cluster: Cluster, scratch: Path) -> Any:
    if arm == "prefect":
        from prefect.task_runners import PrefectTaskRunner

        return PrefectTaskRunner()
    arms = catalog.load()
    spec = arms.arms[arm]
    return arms.engine(spec).task_runner(spec, cluster, scratch)
