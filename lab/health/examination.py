"""The checks of `runner-lab doctor`: facts in, findings out. Nothing is looked up here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

from runner_lab.runners.engine import split_address

CheckStatus = Literal["ok", "warn", "fail"]

BUSY = 0.25
"""Share of the machine in use from which other load disturbs every measurement."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PORTS = {
    4200: "a Prefect server",
    8786: "a Dask scheduler",
    8787: "Dask's dashboard",
    6379: "a Ray head",
    10001: "Ray's client server",
    8265: "Ray's dashboard",
}


@dataclass(frozen=True)
class Known:
    """Two packages that do not work together, and how it shows."""

    package: str
    versions: str
    other: str
    bad: str
    symptom: str
    good: str = ""
    """What to install instead; the lab's own bound by default."""


KNOWN_BAD = (
    Known("prefect", "<3.7.5", "fastapi", ">=0.137", "the server answers 500, except for its health", "fastapi<0.137"),
    Known("prefect", "<3.9", "fastapi", ">=0.155", "the server fails at its import: `Body()` has no `min_items`"),
    Known("prefect", "<3.9", "fastapi", ">=0.151,<0.155", "`prefect deploy` ends in a 422"),
    Known("prefect", "<3.9", "sqlalchemy", ">=2.1", "schedules make no runs; only the server's log says why"),
)


@dataclass(frozen=True)
class PrefectFacts:
    """What a process that imports Prefect finds: the API URL of its settings, and why it does not answer, if so."""

    api_url: str | None
    unreachable: str | None = None
    profile: str | None = None
    storage_block: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Facts:
    """
    versions:     installed, by package; None where one is not.
    requirements: the lab's own, with those of its extras.
    engines:      the packages that each engine needs, by its title; `missing`: what to do where they are not there.
    here:         a process in this folder; `worker`: one in another folder, as workers are.
    server_storage: whether the server has a default result storage of its own.
    clusters:     addresses of clusters that are not the lab's own, by engine.
    reached:      how such a cluster's workers reach the API, by engine's title and worker: `ok`, or why not.
    governor:     None where the machine does not tell.
    busy:         share of all cores in use; `load`: of the last minute, over cores.
    ports:        what listens on each of `PORTS`, None where nothing does.
    """

    python: str
    versions: Mapping[str, str | None]
    requirements: tuple[str, ...]
    here: PrefectFacts
    worker: PrefectFacts
    server_storage: bool
    clusters: Mapping[str, str]
    reached: Mapping[str, Mapping[str, str]]
    governor: str | None
    busy: float
    load: float
    cores: int
    ports: Mapping[int, str | None]
    engines: Mapping[str, Sequence[str]] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """One line. `remedy` is what to do where it is not ok."""

    check: str
    status: CheckStatus
    said: str
    remedy: str = ""


def examine(facts: Facts) -> list[Check]:
    """Every check, in the order in which a failure explains those below it."""
    return [
        *_versions(facts),
        *(Check(title, "ok", f"{line}, if you want it") for title, line in facts.missing.items()),
        _server(facts.here),
        _workers(facts),
        *(_reached(engine, workers) for engine, workers in facts.reached.items() if workers),
        _storage(facts),
        _governor(facts.governor),
        _load(facts),
        *(_port(number, facts.ports.get(number), facts.here) for number in PORTS),
    ]


def _versions(facts: Facts) -> list[Check]:
    bounds = {
        found.name: found
        for found in map(_requirement, facts.requirements)
        # Of an engine that is not there, `missing` tells.
        if found and (facts.versions.get(found.name) or not _extra(found))
    }
    found = [
        Check(
            f"{known.package} with {known.other}",
            "fail",
            f"{known.package} {facts.versions[known.package]} with {known.other} {facts.versions[known.other]}: "
            f"{known.symptom}",
            f"pip install '{known.good or bounds.get(known.other) or known.other}'",
        )
        for known in KNOWN_BAD
        if _in(facts.versions.get(known.package), known.versions) and _in(facts.versions.get(known.other), known.bad)
    ]
    bad = {finding.check.rpartition(" ")[2] for finding in found}
    for name, bound in bounds.items():
        version = facts.versions.get(name)
        if version is None:
            found.append(Check(name, "fail", "is not installed", f"pip install '{bound}'"))
        elif name not in bad and not bound.specifier.contains(version, prereleases=True):
            said = f"{version} is outside of what the lab is tested with ({bound.specifier})"
            found.append(Check(name, "warn", said, f"pip install '{bound}'"))
    shown = dict.fromkeys(["prefect", *(name for names in facts.engines.values() for name in names)])
    engines = [f"{name} {facts.versions[name]}" for name in shown if facts.versions.get(name)]
    summed = Check("versions", "ok", f"Python {facts.python}, {', '.join(engines)}")
    return [summed, *found]


def _server(here: PrefectFacts) -> Check:
    if here.error:
        return Check("server", "fail", f"Prefect cannot be asked for its settings: {here.error}", "fix its profile")
    if here.api_url is None:
        return Check(
            "server",
            "warn",
            "PREFECT_API_URL is not set: the lab starts a server of its own, but your flows have none",
            "prefect server start, then prefect config set PREFECT_API_URL=http://127.0.0.1:4200/api",
        )
    if here.unreachable:
        return Check(
            "server",
            "fail",
            f"{here.api_url} does not answer: {here.unreachable}",
            "start it with prefect server start, or fix PREFECT_API_URL",
        )
    return Check("server", "ok", f"{here.api_url} answers (profile {here.profile or 'none'})")


def _workers(facts: Facts) -> Check:
    here, worker = facts.here, facts.worker
    if worker.api_url is None and here.api_url is None:
        return Check(
            "workers",
            "warn",
            "with no API URL each worker process of Dask, Ray and process pools starts a server of its own",
            "set PREFECT_API_URL where workers start, by prefect config set or in their environment",
        )
    if worker.api_url != here.api_url:
        return Check(
            "workers",
            "fail",
            f"{here.api_url} is set in this folder only: a worker started in another one has "
            f"{worker.api_url or 'no API URL'}",
            "set PREFECT_API_URL in the environment or the profile, not in ./prefect.toml or ./.env",
        )
    remote = [address for address in facts.clusters.values() if not _local(address)]
    if remote and here.api_url and _local(here.api_url):
        return Check(
            "workers",
            "fail",
            f"workers at {', '.join(remote)} cannot reach {here.api_url}, which is this machine alone",
            "prefect server start --host 0.0.0.0, and an API URL with this machine's name",
        )
    if worker.unreachable:
        return Check(
            "workers",
            "fail",
            f"a worker does not reach {worker.api_url}: {worker.unreachable}",
            "see the check of the server",
        )
    return Check("workers", "ok", f"a worker process started in another folder reaches {worker.api_url}")


def _reached(engine: str, workers: Mapping[str, str]) -> Check:
    check = f"{engine} workers"
    wrong = {worker: reason for worker, reason in workers.items() if reason != "ok"}
    if not wrong:
        return Check(check, "ok", f"all {len(workers)} reach the API")
    worker, reason = next(iter(wrong.items()))
    said = f"{len(wrong)} of {len(workers)} do not reach the API, such as {worker}: {reason}"
    return Check(check, "fail", said, "start them with PREFECT_API_URL, on a network that reaches it")


def _storage(facts: Facts) -> Check:
    if block := facts.here.storage_block:
        return Check("result storage", "ok", f"{block}, if all workers reach it")
    if facts.server_storage:
        return Check("result storage", "ok", "the server's default, if all workers reach it")
    if facts.here.api_url is None or (_local(facts.here.api_url) and all(map(_local, facts.clusters.values()))):
        return Check("result storage", "ok", "local files, which all processes of this machine share")
    return Check(
        "result storage",
        "warn",
        "local files of each machine: cached and persisted results are not found on another",
        "set PREFECT_DEFAULT_RESULT_STORAGE_BLOCK to a storage that all workers reach",
    )


def _governor(governor: str | None) -> Check:
    if governor is None:
        return Check("CPU governor", "ok", "not reported, as on virtual machines")
    if governor == "performance":
        return Check("CPU governor", "ok", governor)
    said = f"{governor}: the clock follows the load, and short tasks look slower than long ones"
    return Check("CPU governor", "warn", said, "sudo cpupower frequency-set --governor performance")


def _load(facts: Facts) -> Check:
    said = f"{facts.busy:.0%} of {facts.cores} cores in use, {facts.load:.1f} processes a core over the last minute"
    if facts.busy > BUSY or facts.load > BUSY:
        return Check("load", "warn", said, "close other programs before you measure")
    return Check("load", "ok", said)


def _port(number: int, taken_by: str | None, here: PrefectFacts) -> Check:
    check = f"port {number}"
    if taken_by is None:
        return Check(check, "ok", f"free for {PORTS[number]}")
    if here.api_url and not here.unreachable and _local(here.api_url) and urlsplit(here.api_url).port == number:
        return Check(check, "ok", f"your Prefect server ({taken_by})")
    said = f"taken by {taken_by}; the default port of {PORTS[number]}"
    return Check(check, "warn", said, "nothing if it is the one you want; otherwise give yours another port")


def _local(address: str) -> bool:
    host = split_address(address).hostname
    return host in LOOPBACK or address in ("auto", "local")


def _in(version: str | None, versions: str) -> bool:
    return version is not None and SpecifierSet(versions).contains(version, prereleases=True)


def _requirement(text: str) -> Requirement | None:
    try:
        found = Requirement(text)
    except InvalidRequirement:
        return None
    extras = re.findall(r"extra == ['\"]([^'\"]+)", str(found.marker or ""))
    taken = any(found.marker.evaluate({"extra": extra}) for extra in extras or [""]) if found.marker else True
    return found if taken else None


def _extra(found: Requirement) -> bool:
    """Whether it is of an extra."""
    return found.marker is not None and "extra ==" in str(found.marker)


def worst(findings: Sequence[Check]) -> CheckStatus:
    """The worst status of all."""
    order: tuple[CheckStatus, ...] = ("ok", "warn", "fail")
    return max((finding.status for finding in findings), key=order.index, default="ok")
