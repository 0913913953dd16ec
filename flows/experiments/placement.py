"""Ways to run a task, or a flow, in a place of one's choice: small flows that ask for `place` and say where it was.

A place is whatever tells one worker, node or machine from another: here they are called `left` and `right`, and
docs/dedicated-infrastructure.md says how they are set up. Each flow needs the task runner that its section names.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from prefect import flow, tags, task
from prefect.cache_policies import NO_CACHE
from prefect.deployments import run_deployment

from runner_lab.flows.experiments.noted import VARIABLE


@dataclass(frozen=True)
class Place:
    """Where a body ran, as seen from inside it.

    worker: name of the Dask worker, or label `place` of the Ray node; None anywhere else.
    resources: what the Dask worker offers, or what Ray has set aside for the task.
    variable: the value of `PLACEMENT` there.
    """

    host: str
    pid: int
    worker: str | None = None
    resources: dict[str, float] = field(default_factory=dict)
    variable: str | None = None


@dataclass(frozen=True)
class Visit:
    """One placement: the place that was asked for, where the bodies ran, and the seconds from asking to the result."""

    asked: str
    places: list[Place]
    seconds: float


def here() -> Place:
    """The place this process is."""
    worker, resources = _dask_worker() or _ray_worker() or (None, {})
    return Place(socket.gethostname(), os.getpid(), worker, resources, os.environ.get(VARIABLE))


def _dask_worker() -> tuple[str, dict[str, float]] | None:
    if "distributed" not in sys.modules:
        return None
    from distributed import get_worker

    try:
        worker = get_worker()
    except ValueError:
        return None
    return str(worker.name), dict(worker.state.total_resources)


def _ray_worker() -> tuple[str, dict[str, float]] | None:
    if "ray" not in sys.modules:
        return None
    import ray

    if not ray.is_initialized():
        return None
    context = ray.get_runtime_context()
    try:
        resources = context.get_assigned_resources()
    except AssertionError:
        # The driver, which is on a node as well, but on none that a task was sent to.
        return None
    return context.get_node_labels().get("place", context.get_node_id()), resources


@task(cache_policy=NO_CACHE)
def where(number: int = 0) -> Place:
    return here()


@flow
def nothing_asked(place: str) -> Place:
    return where.submit().result()


@flow
def dask_direct_call(place: str) -> Place:
    import dask

    with dask.annotate(resources={place: 1}):
        return where()


@flow
def dask_resources(place: str) -> Place:
    import dask

    with dask.annotate(resources={place: 1}):
        future = where.submit()
    return future.result()


@flow
def dask_resources_map(place: str) -> list[Place]:
    import dask

    with dask.annotate(resources={place: 1}):
        futures = where.map(range(4))
    return futures.result()


@flow
def dask_workers(place: str) -> Place:
    import dask

    with dask.annotate(workers=[place]):
        future = where.submit()
    return future.result()


@flow
def dask_absent(place: str) -> Place | None:
    import dask

    with dask.annotate(resources={place: 1}):
        future = where.submit()
    future.wait(timeout=5)
    return future.result() if future.state.is_final() else None


@flow
def ray_resources(place: str) -> Place:
    from prefect_ray.context import remote_options

    with remote_options(resources={place: 1}):
        future = where.submit()
    return future.result()


@flow
def ray_resources_map(place: str) -> list[Place]:
    from prefect_ray.context import remote_options

    with remote_options(resources={place: 0.25}):
        futures = where.map(range(4))
    return futures.result()


@flow
def ray_label(place: str) -> Place:
    from prefect_ray.context import remote_options

    with remote_options(label_selector={"place": place}):
        future = where.submit()
    return future.result()


@flow
def ray_node(place: str) -> Place:
    import ray
    from prefect_ray.context import remote_options
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    node = next(node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Labels"].get("place") == place)
    with remote_options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)):
        future = where.submit()
    return future.result()


@flow
def ray_cpus(place: str) -> Place:
    """Ask for more CPUs than the other node has."""
    from prefect_ray.context import remote_options

    with remote_options(num_cpus=2):
        future = where.submit()
    return future.result()


@flow
def ray_gpus(place: str) -> Place:
    from prefect_ray.context import remote_options

    with remote_options(num_gpus=1):
        future = where.submit()
    return future.result()


@flow
def ray_runtime_env(place: str) -> Place:
    from prefect_ray.context import remote_options

    with remote_options(runtime_env={"env_vars": {"PLACEMENT": place}}):
        future = where.submit()
    return future.result()


@flow
def ray_direct_call(place: str) -> Place:
    from prefect_ray.context import remote_options

    with remote_options(resources={place: 1}):
        return where()


@flow
def ray_absent(place: str) -> Place | None:
    from prefect_ray.context import remote_options

    with remote_options(resources={place: 1}):
        future = where.submit()
    future.wait(timeout=5)
    return future.result() if future.state.is_final() else None


# A served task is cached whatever its policy, and the future of a cached run is never told that it has ended.
@task(refresh_cache=True)
def on_left() -> Place:
    return here()


@task(refresh_cache=True)
def on_right() -> Place:
    return here()


@flow
def background(place: str) -> Place:
    dedicated = {"left": on_left, "right": on_right}[place]
    return dedicated.delay().result()


@flow
def prefect_task_runner(place: str) -> Place:
    """Under `PrefectTaskRunner`, which hands what is submitted to the processes that serve the task."""
    dedicated = {"left": on_left, "right": on_right}[place]
    return dedicated.submit().result()


@flow(persist_result=True)
def whereabouts() -> Place:
    return where()


@flow
def deployment(place: str) -> Place:
    flow_run: Any = run_deployment(f"whereabouts/{place}", poll_interval=1)
    return flow_run.state.result()


@flow
def tag_limit(place: str) -> list[Place]:
    with tags(place):
        futures = where.map(range(2))
    return futures.result()


@flow(name="placement", persist_result=False)
def visits(way: str, places: Sequence[str]) -> list[Visit]:
    """Ask for each place in turn, by the body of one of the flows above, within one flow run.

    Args:
        way: name of the flow.
        places: what to ask for.
    """
    body = globals()[way].fn
    made = []
    for place in places:
        asked_s = time.perf_counter()
        found = body(place)
        seconds = time.perf_counter() - asked_s
        made.append(Visit(place, [found] if isinstance(found, Place) else found or [], seconds))
    return made
