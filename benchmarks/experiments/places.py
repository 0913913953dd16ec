"""Two places to land, `left` and `right`, of each kind: Dask workers, Ray nodes, served tasks, work pools.

All are processes of this machine. What makes them two places is what would make two machines so: names, resources,
labels, an environment. Every process carries the mark of `runners.isolation.guard`.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from runner_lab.flows.experiments.noted import VARIABLE
from runner_lab.runners.engine import Cluster
from runner_lab.runners.engines.ray import init, local_node
from runner_lab.runners.isolation.supervised import module, supervised

PLACES = ("left", "right")
START_LIMIT_S = 120.0
"""For a place to come up. Generous: a worker imports Prefect first."""


@contextmanager
def dask_workers(scratch: Path) -> Iterator[Cluster]:
    """A scheduler and two workers, each with a name, a resource and a concurrency limit on a tag of its own."""
    import distributed

    _limit_tags()
    workers = {
        place: {
            "cls": distributed.Nanny,
            "options": {
                "nthreads": 1,
                "resources": {place: 1},
                "host": "127.0.0.1",
                "dashboard": False,
                "silence_logs": logging.CRITICAL,
            },
        }
        for place in PLACES
    }
    scheduler = {"cls": distributed.Scheduler, "options": {"host": "127.0.0.1", "port": 0, "dashboard": False}}
    with distributed.SpecCluster(workers=workers, scheduler=scheduler, silence_logs=logging.CRITICAL) as cluster:
        yield Cluster(cluster.scheduler_address)


@contextmanager
def ray_nodes(scratch: Path) -> Iterator[Cluster]:
    """The driver's own node, `left`, and a second one that joins from outside, with more CPUs and a GPU on paper."""
    import ray

    mine = {"resources": {PLACES[0]: 1}, "labels": {"place": PLACES[0]}}
    try:
        # A start that fails may have left a node up.
        started = init(**local_node(1, scratch), **mine)
        address = started.address_info["address"]
        command = module("ray.scripts.scripts", "start", "--block", "--address", address)
        command += ["--node-ip-address", "127.0.0.1", "--num-cpus", "2", "--num-gpus", "1"]
        command += ["--resources", json.dumps({PLACES[1]: 1}), "--labels", f"place={PLACES[1]}"]
        command += ["--min-worker-port", "0", "--max-worker-port", "0", "--disable-usage-stats"]
        with supervised(command, scratch / "second-node.log") as second:
            if not second.reaches(lambda: len([node for node in ray.nodes() if node["Alive"]]) == 2, START_LIMIT_S):
                raise RuntimeError(
                    f"the second Ray node ended at once, or did not come up within {START_LIMIT_S:.0f} s"
                )
            yield Cluster(address)
    finally:
        ray.shutdown()


@contextmanager
def served_tasks(scratch: Path) -> Iterator[Cluster]:
    """Two processes, each serving the task that is meant for it."""
    with ExitStack() as stack:
        for place in PLACES:
            serve = f"from runner_lab.flows.experiments.placement import on_{place}; on_{place}.serve()"
            stack.enter_context(
                supervised([sys.executable, "-P", "-c", serve], scratch / f"{place}.log", _variables(place))
            )
        yield Cluster()


@contextmanager
def work_pools(scratch: Path) -> Iterator[Cluster]:
    """Two work pools, each with a worker and a deployment of one flow."""
    from prefect.deployments.runner import EntrypointType

    from runner_lab.flows.experiments.placement import whereabouts

    with ExitStack() as stack:
        for place in PLACES:
            _process_pool(place)
            deployment: Any = whereabouts.to_deployment(
                place, work_pool_name=place, entrypoint_type=EntrypointType.MODULE_PATH
            )
            deployment.apply()
            command = module("prefect", "worker", "start", "--pool", place, "--name", place)
            stack.enter_context(supervised(command, scratch / f"{place}.log", _variables(place)))
        yield Cluster()


def _process_pool(name: str) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))


def _limit_tags() -> None:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for place in PLACES:
            client.create_concurrency_limit(tag=place, concurrency_limit=1)


def _variables(place: str) -> dict[str, str]:
    return {**os.environ, VARIABLE: place}


GROUPS: dict[str, Callable[[Path], AbstractContextManager[Cluster]]] = {
    "dask": dask_workers,
    "ray": ray_nodes,
    "background": served_tasks,
    "deployment": work_pools,
}
"""What can be up at one time: ways of one group share their places. Each is given a folder for its files."""
