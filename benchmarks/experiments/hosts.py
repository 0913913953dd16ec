"""What runners do across hosts, and when a link between them is cut. On a network of the lab's own; Linux, as root.

Prefect's server, the flow, and the two workers of a Dask or Ray cluster are on a host each, with an address of its own.
The cluster is started by its own command lines, from an environment without this project.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner_lab.benchmarks.experiments import far_driver, network
from runner_lab.benchmarks.experiments.bare_environment import bare_python
from runner_lab.benchmarks.experiments.far_clusters import CLUSTERS, START_LIMIT_S, process_on, wait_for
from runner_lab.benchmarks.experiments.far_driver import Asked
from runner_lab.benchmarks.experiments.findings_file import chosen, free_folder, make, write
from runner_lab.benchmarks.experiments.network import Network
from runner_lab.benchmarks.experiments.severed import CUTS, Cut, across, judge
from runner_lab.benchmarks.measuring import environment
from runner_lab.benchmarks.session.interrupts import Interrupts
from runner_lab.benchmarks.session.run_folder import now
from runner_lab.flows.graph.ledger import Ledger
from runner_lab.reports.findings import hosts as findings
from runner_lab.runners import catalog
from runner_lab.runners.isolation.environment import environment as lab_environment
from runner_lab.runners.isolation.environment import isolated
from runner_lab.runners.isolation.guard import guarded
from runner_lab.runners.server import Server, ServerError

HOSTS = ("server", "driver", "left", "right")
ARMS = ("lean-dask", "dask", "lean-ray", "ray")
STINTS = 8
STINT_S = 3.0
LIMIT_S = 240.0
"""For the flow of one experiment, from its first stint: what is not over by then hangs."""
_START_LIMIT_S = 300.0
_PORT = 4200
CODE = "benchmarks/experiments/hosts.py"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Site:
    """The network, and what is up on it. `cluster`: its address. `log`: where what drivers print is appended."""

    net: Network
    api_url: str
    cluster: str
    folder: Path
    log: Path


def run(
    only: str | None = None, runners: str | None = None, out: Path | None = None, say: Say = lambda line: None
) -> dict[str, Any]:
    """Make the experiments; `hosts.json` is written anew after each, so that Ctrl-C loses none.

    Args:
        only: experiments, with commas; all by default.
        runners: arms, with commas; stock and lean Dask and Ray by default.
        out: folder for the findings; `results/<time>-hosts` by default.
        say: told what is going on.

    Returns:
        What was written, and `folder`, where.

    Raises:
        ServerError: the Prefect server does not start.
        AskedError: no such experiment or arm, or a folder that cannot be written to.
        NetworkError: a machine without network namespaces, or a network that cannot be made.
    """
    names = chosen("--only", only, [cut.id for cut in CUTS])
    arms = chosen("--runners", runners, ARMS)
    folder = free_folder("hosts", out, findings.FILE)
    network.check()
    with ExitStack() as stack:
        scratch = stack.enter_context(guarded())
        # A Ray node that joins, and a driver, show their token only where they are told to.
        stack.enter_context(isolated({**lab_environment(scratch / "home"), "RAY_AUTH_MODE": "token"}))
        interrupts = stack.enter_context(Interrupts())
        say(f"making a network of {len(HOSTS)} hosts")
        net = stack.enter_context(network.network(HOSTS))
        make(folder)
        api_url = f"http://{net['server'].address}:{_PORT}/api"
        serve = [sys.executable, "-m", "prefect", "server", "start"]
        serve += ["--host", net["server"].address, "--port", str(_PORT)]
        variables = {**lab_environment(scratch / "server"), "PREFECT_SERVER_UI_ENABLED": "false"}
        server = stack.enter_context(process_on(net["server"], serve, scratch, "prefect", variables))
        report: dict[str, Any] = {
            "schema": findings.SCHEMA,
            "name": "hosts",
            "title": "Across hosts, and when a link is cut",
            "folder": str(folder),
            "started_at": now(),
            "finished_at": None,
            "environment": environment.describe(Server(api_url, "sqlite", server.pid), "hosts"),
            "experiments": [{"id": c.id, "group": "hosts", "title": c.title, "code": CODE} for c in CUTS],
            "arms": list(ARMS),
            "findings": [],
        }
        say("starting the lab's Prefect server on a host of its own")
        try:
            wait_for(net["driver"], net["server"].address, _PORT, 2 * START_LIMIT_S)
        except RuntimeError as error:
            raise ServerError(f"the Prefect server did not come up: {error}") from None
        log = folder / "hosts.log"
        found = stack.enter_context(closing(_findings(net, api_url, names, arms, scratch, log, say)))
        for finding in found:
            report["findings"].append(finding)
            write(folder / findings.FILE, report)
            interrupts.raise_lost()
        report["finished_at"] = now()
        write(folder / findings.FILE, report)
    return report


def _findings(
    net: Network, api_url: str, names: Sequence[str], arms: Sequence[str], scratch: Path, log: Path, say: Say
) -> Generator[dict[str, Any], None, None]:
    known = catalog.load().arms
    python = bare_python(scratch / "bare")
    for engine in dict.fromkeys(known[arm].engine for arm in arms):
        # One cluster serves all experiments, until one of them has lost it a worker.
        left = [(cut, arm) for cut in CUTS if cut.id in names for arm in arms if known[arm].engine == engine]
        while left:
            say(f"{engine}: starting a cluster on {' and '.join(HOSTS[2:])}")
            folder = scratch / f"{engine}-{len(left)}"
            folder.mkdir()
            with ExitStack() as stack:
                try:
                    address = stack.enter_context(CLUSTERS[engine](net["left"], net["right"], python, folder))
                except RuntimeError as error:
                    yield from (_finding(cut, arm, {"no_cluster": str(error), "seconds": 0.0}) for cut, arm in left)
                    break
                whole = True
                while left and whole:
                    cut, arm = left.pop(0)
                    say(f"{arm}: {cut.title}")
                    place = folder / f"{arm}-{cut.id}"
                    place.mkdir()
                    facts = measure(cut, arm, Site(net, api_url, address, place, log))
                    whole = facts.get("workers_after", 0) >= 2 or not cut.host
                    yield _finding(cut, arm, facts)


def measure(cut: Cut, arm: str, site: Site) -> dict[str, Any]:
    """The facts of one experiment under one arm. Never raises for what the arm does."""
    asked = Asked(arm, site.api_url, site.cluster, str(site.folder))
    if cut.host:
        asked = Asked(arm, site.api_url, site.cluster, str(site.folder), STINTS, STINT_S, LIMIT_S)
    variables = lab_environment(site.folder, site.api_url)
    begun_s = time.monotonic()
    with process_on(site.net["driver"], asked.command(), site.folder, "driver", variables, site.log) as process:
        ledger = Ledger(site.folder / "ledger")

        def over() -> bool:
            return process.poll() is not None

        more: dict[str, Any] = {}
        if cut.host:
            _until(lambda: over() or _begun_on(ledger, HOSTS[3]), _START_LIMIT_S)
            time.sleep(1.0)
            cut_s = time.monotonic()
            with site.net.cut_off(cut.host):
                # Where nothing is left to wait for, a link that stays down shows no more.
                _until(lambda: over() or "returned_s" in far_driver.read(site.folder), cut.seconds, least_s=cut.least_s)
            mended_s = time.monotonic()
            (site.folder / far_driver.MENDED).touch()
            more = {"cut_s": cut_s, "mended_s": mended_s}
        _until(over, LIMIT_S + _START_LIMIT_S)
        more |= {"ended": process.poll()}
    facts = {**far_driver.read(site.folder), **more, "seconds": round(time.monotonic() - begun_s, 1)}
    if cut.host:
        entries = ledger.entries()
        facts["begun"] = sum(entry.name == "begun" for entry in entries)
        facts["on"] = sorted({entry.host.partition("/")[0] for entry in entries})
    return facts


def _begun_on(ledger: Ledger, host: str) -> bool:
    return any(entry.host.partition("/")[0] == host for entry in ledger.entries())


def _finding(cut: Cut, arm: str, facts: dict[str, Any]) -> dict[str, Any]:
    judged = judge(facts, STINTS) if cut.host else across(facts)
    return {
        "experiment": cut.id,
        "group": "hosts",
        "title": cut.title,
        "arm": arm,
        "symbol": judged.symbol,
        "words": judged.words,
        "remedy": judged.remedy,
        "details": facts,
        "code": CODE,
        "seconds": facts["seconds"],
    }


def _until(true: Callable[[], bool], limit_s: float, least_s: float = 0.0) -> None:
    begun_s = time.monotonic()
    while (waited_s := time.monotonic() - begun_s) < limit_s and (waited_s < least_s or not true()):
        time.sleep(0.1)
