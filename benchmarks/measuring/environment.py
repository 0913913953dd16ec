"""What a record says of the machine and the versions it was measured with."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import cache_from_source, find_spec
from pathlib import Path
from typing import Any

import psutil

from runner_lab.runners import catalog
from runner_lab.runners.server import Server

_PACKAGES = ("prefect", "prefect-lean", "runner-lab")
_GROUPS = Path("/sys/fs/cgroup")


def describe(server: Server, profile: str, api_latency_s: float = 0.0) -> dict[str, Any]:
    """A flat description, JSON-able: the `environment` of every record.

    Args:
        api_latency_s: round trip that the run has put between itself and the server.
    """
    return {
        "profile": profile,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cores": cores(),
        "machine_cores": psutil.cpu_count() or 1,
        "memory_bytes": psutil.virtual_memory().total,
        "governor": governor(),
        "server": {"database": server.database, "lab": server.pid is not None, **_set(server)},
        "api_latency_s": api_latency_s,
        "versions": {name: installed_version(name) for name in packages()},
        "commit": _commit(),
        "bytecode": _bytecode(),
    }


def packages() -> tuple[str, ...]:
    """The distributions that a measurement depends on: Prefect's, the lab's, those of each engine."""
    engines = [package.distribution for engine in catalog.load().engines.values() for package in engine.requires]
    return tuple(dict.fromkeys([*_PACKAGES, *engines]))


def cores() -> int:
    """Cores this process may use: those it may run on, or fewer where its control groups allow it less CPU time."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return max(1, min([mine, *map(math.ceil, _quotas())]))


def usual_workers() -> int:
    """Worker slots where nobody has set them: the cores, and at least 2."""
    return max(2, cores())


def governor() -> str | None:
    """How the clock of the CPU is set; None where the machine does not tell, as virtual ones do not."""
    return _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def _quotas() -> list[float]:
    """CPU seconds a second that the control groups (v2) of this process allow; a container sees its own as the root."""
    told = (_read("/proc/self/cgroup") or "").splitlines()
    group = next((line.removeprefix("0::").strip("/") for line in told if line.startswith("0::")), "")
    own = _GROUPS / group
    quotas = (_read(str(folder / "cpu.max")) for folder in (own, *own.parents) if folder.is_relative_to(_GROUPS))
    shares = [quota.split() for quota in quotas if quota]
    return [int(share[0]) / int(share[1]) for share in shares if len(share) == 2 and share[0] != "max"]


def _set(server: Server) -> dict[str, Any]:
    return {"settings": dict(server.settings)} if server.settings else {}


def _bytecode() -> bool:
    """Whether a process that imports Prefect finds it compiled, or leaves it compiled for the next."""
    found = find_spec("prefect")
    compiled = bool(found and found.origin and Path(cache_from_source(found.origin)).exists())
    return compiled or not sys.dont_write_bytecode


def installed_version(package: str) -> str | None:
    """Of a distribution; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu_model() -> str:
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


@cache
def _commit() -> str | None:
    """The lab's commit, with `+` where the tree differs from it; None outside a checkout."""
    # Installed in a project, it lies in that project's checkout without being of it.
    if _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    return _git("describe", "--always", "--dirty=+", "--abbrev=12")


def _git(*words: str) -> str | None:
    """What git says in this folder; None where it says nothing, or fails."""
    try:
        found = subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None if found.returncode == 0 else None
