"""What the lab's own tasks need on a cluster that it attaches to, whose workers have neither its code nor its files."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from ipaddress import ip_address
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from runner_lab import flows
from runner_lab.flows.graph.ledger import Collector
from runner_lab.flows.graph.wiring import Nodes
from runner_lab.records import graph
from runner_lab.runners.catalog import Catalog
from runner_lab.runners.engine import Cluster, ClusterSettings, Engine, split_address
from runner_lab.runners.spec import ArmError, RunnerSpec

_CONNECT_LIMIT_S = 30.0


@contextmanager
def ledger_for(cluster: Cluster | None, folder: Path) -> Iterator[str]:
    """Where bodies on this cluster write the ledger of `folder`: the folder itself, or the address of a collector.

    While it is entered, the lab's flows and tasks are sent to an attached cluster by value.

    Raises:
        OSError: the cluster cannot be reached.
    """
    if cluster is None or cluster.local:
        yield str(folder)
        return
    with sent_by_value(), Collector(folder, own_address(cluster.address)) as collector:
        yield collector.address


@contextmanager
def sent_by_value() -> Iterator[None]:
    """Flows, tasks and graphs travel whole, not as names that the other side would have to import."""
    with ExitStack() as stack:
        for pickler, module in product(_picklers(), (flows, graph)):
            pickler.register_pickle_by_value(module)
            stack.callback(pickler.unregister_pickle_by_value, module)
        yield


def nodes_for(cluster: Cluster) -> Nodes:
    """The graph's functions for a bare engine."""
    if cluster.local:
        return Nodes()
    plain = Nodes()
    return Nodes(*(_by_value(node) for node in (plain.hello, plain.world, plain.greet, plain.gather)))


def refuse_another_host(arm: str, address: str, relayed: bool = False) -> None:
    """The lab's own server listens on loopback, where only the processes of this host reach it.

    Args:
        relayed: so does what puts a server farther away, whosever the server is.

    Raises:
        ArmError: the cluster is on another host.
    """
    if not on_another_host(address):
        return
    if relayed:
        raise ArmError(
            arm,
            f"{address} is on another host, and does not reach the relay of --lab-api-latency on this one: leave "
            "--lab-api-latency away, or leave this arm out",
        )
    raise ArmError(
        arm,
        f"{address} is on another host, and does not reach the lab's own Prefect server: start one that it "
        "reaches, and name it by --lab-api-url",
    )


def check_slots(arms: Iterable[RunnerSpec], catalog: Catalog, workers: int, given: bool, scratch: Path) -> list[str]:
    """See that a run counts with the worker slots of each cluster that runs already, which is asked.

    Args:
        workers: that the run counts with.
        given: by the user, and not by the cores of this host.
        scratch: folder for files.

    Returns:
        Warnings.

    Raises:
        ArmError: a cluster has another number; see `judge_slots`.
    """
    places = {place: arm for arm in arms if (place := catalog.engine(arm).attached(arm, catalog.settings(arm)))}
    warnings = []
    for address, arm in places.items():
        settings = replace(catalog.settings(arm), address=address)
        slots = slots_of(catalog.engine(arm), settings, workers, scratch)
        warnings.append(judge_slots(arm.name, address, slots, workers, given))
    return [warning for warning in warnings if warning]


def judge_slots(arm: str, address: str, slots: int | None, workers: int, given: bool) -> str | None:
    """Overhead, ideal and efficiency are made of the number of workers: it is to be what the cluster has.

    Args:
        slots: of the cluster; None where it does not tell.
        given: by the user, who may know that the cluster grows with its work.

    Returns:
        A warning, where the cluster has fewer than were given.

    Raises:
        ArmError: it has any other number.
    """
    if slots is None or slots == workers:
        return None
    has = f"the cluster at {address} has {slots} worker slots, and the run counts with {workers}"
    if slots < workers and given:
        return f"arm {arm!r}: {has}: unless it grows with its work, its overhead and efficiency are wrong"
    raise ArmError(arm, f"{has}: give --workers {slots}" if slots else f"{has}: start its workers, or give --workers N")


def slots_of(engine: Engine, settings: ClusterSettings, workers: int, scratch: Path) -> int | None:
    """Worker slots of the cluster at an address; None where it does not tell, or lets nobody in."""
    try:
        with engine.cluster(workers, settings, scratch) as cluster:
            return engine.slots(cluster)
    except Exception:
        # The cells of its arms will say why, and those of the others are measured.
        return None


def on_another_host(address: str) -> bool:
    """Whether the cluster's address is not one of this host.

    Raises:
        OSError: the cluster cannot be reached.
    """
    here = own_address(address)
    host, _ = _host_and_port(address)
    return here not in {found[4][0] for found in socket.getaddrinfo(host, None)} and not ip_address(here).is_loopback


def own_address(cluster: str | None) -> str:
    """The address of this host on the way to the cluster, and so the one that its workers can answer.

    Raises:
        OSError: the cluster cannot be reached.
    """
    with socket.create_connection(_host_and_port(cluster or ""), timeout=_CONNECT_LIMIT_S) as connection:
        return str(connection.getsockname()[0])


def _host_and_port(address: str) -> tuple[str, int]:
    parts = split_address(address)
    return parts.hostname or "127.0.0.1", parts.port or 0


def _picklers() -> list[ModuleType]:
    """cloudpickle, and each copy of it that an engine brings, as Ray does: a copy has a register of its own."""
    named = [module for name, module in list(sys.modules.items()) if name.rpartition(".")[2] == "cloudpickle"]
    copies = [cloudpickle, *(module for module in named if hasattr(module, "register_pickle_by_value"))]
    return list({module.register_pickle_by_value: module for module in copies}.values())


def _by_value(node: Any) -> Any:
    # Dask tries pickle before cloudpickle, and pickle takes a module's function by name. It cannot take a nested one.
    def nested(*args: Any) -> Any:
        return node(*args)

    nested.__name__ = node.__name__
    return nested
