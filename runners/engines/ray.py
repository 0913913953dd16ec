"""Ray: prefect-ray's runner and bare remote functions, on one cluster."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner_lab.runners.engine import RUNNING_CLUSTER, Cluster, ClusterSettings, Dependency, Engine, split_address
from runner_lab.runners.spec import RunnerSpec

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner

_QUIET = {"namespace": "prefect", "log_to_driver": False, "logging_level": "CRITICAL"}
_STARTS = 4
_NODE_ANSWER_S = 60.0
"""A node that has no worker process yet starts one to answer."""
_BY_CHANCE = (
    # Ray gives its node 30 s to come up, which is not enough where the machine is busy.
    "timed out during startup",
    # The process that serves a Ray Client may die as it is forked: https://github.com/ray-project/ray/issues/63202.
    "Starting Ray client server failed",
)


class Ray(Engine):
    name = "ray"
    title = "Ray"
    rank = 40
    reach = "cluster"
    nested = "lent"
    runner_classes = frozenset({"RayTaskRunner"})
    requires = (Dependency("prefect-ray", "prefect_ray"), Dependency("ray", "ray"))
    install = "runner-lab[ray]"
    cluster_keys = RUNNING_CLUSTER
    caveat = "Ray's workers may be on other hosts, all of which need your code, its packages and Prefect's API."
    palette = 5
    shares_cluster = True
    own_place = frozenset({"address", "init_kwargs"})
    forbids_reruns = "remote_options(max_retries=0)"
    arms = (
        RunnerSpec("ray", "ray", "prefect_ray.RayTaskRunner", summary="prefect-ray"),
        RunnerSpec(
            "lean-ray",
            "ray",
            "prefect_lean.LeanRayTaskRunner",
            lean=True,
            summary="prefect-ray without most of its cost per task",
        ),
        RunnerSpec("bare-ray", "ray", bare=True, summary="ray.remote, no Prefect"),
    )

    def slots_share_gil(self, spec: RunnerSpec, settings: ClusterSettings) -> bool | None:
        # A process for each task that runs, on whatever cluster.
        return False

    def where(self, spec: RunnerSpec, settings: ClusterSettings) -> str:
        if not self.shares(spec):
            return self.place_of(spec)
        if settings.address:
            return f"the Ray cluster at {settings.address}"
        return f"a local Ray node with {spec.workers} CPUs"

    @contextmanager
    def cluster(self, workers: int, settings: ClusterSettings, scratch: Path) -> Iterator[Cluster]:
        import ray

        place = {"address": settings.address, **_QUIET} if settings.address else local_node(workers, scratch)
        try:
            # A start that fails may have left a node up.
            started = init(**place)
            yield Cluster(settings.address or started.address_info["address"], local=not settings.address)
        finally:
            ray.shutdown()

    def slots(self, cluster: Cluster) -> int:
        import ray

        return int(ray.cluster_resources().get("CPU", 0))

    def on_workers(self, address: str, function: Callable[..., str], *args: Any, limit_s: float) -> dict[str, str]:
        """On each node, not in each worker process, of which Ray starts and ends as many as it needs."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        try:
            where = split_address(address)
            if where.hostname and where.port:
                # Ray itself would try for minutes.
                socket.create_connection((where.hostname, where.port), limit_s).close()
            init(address=address, log_to_driver=False, logging_level="CRITICAL")
        except (OSError, ValueError) as error:
            return {address: f"the cluster does not answer: {' '.join(str(error).split())}"}
        try:
            # Of no CPU, so that it does not wait for a free one.
            remote = ray.remote(num_cpus=0)(function)
            answers = {
                node["NodeManagerAddress"]: remote.options(
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                ).remote(*args)
                for node in ray.nodes()
                if node["Alive"]
            }
            return {node: _answer(answer) for node, answer in answers.items()}
        finally:
            ray.shutdown()

    def declared(self, runner: TaskRunner[Any]) -> tuple[int, dict[str, Any]]:
        address, start = getattr(runner, "address", None), getattr(runner, "init_kwargs", None) or {}
        slots = start.get("num_cpus")
        place = {"address": address} if address else {}
        return (slots if isinstance(slots, int) and not address else 0), {**place, "init_kwargs": start}

    def options(self, spec: RunnerSpec, cluster: Cluster | None, scratch: Path = Path()) -> dict[str, Any]:
        if cluster or not self.shares(spec):
            # On the shared cluster Ray is initialised in this process by then, and the runner uses what it finds.
            return dict(spec.options)
        return {"init_kwargs": local_node(spec.workers, scratch), **spec.options}

    def keywords(self, spec: RunnerSpec) -> dict[str, Any]:
        return {"init_kwargs": {"num_cpus": spec.workers}, **spec.options} if self.shares(spec) else dict(spec.options)

    @contextmanager
    def bare(self, spec: RunnerSpec, cluster: Cluster, limit_s: float) -> Iterator[BareRay]:
        yield BareRay(limit_s)


class BareRay:
    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._remotes: dict[Any, Any] = {}

    def submit(self, node: Any, *args: Any) -> Any:
        import ray

        if node not in self._remotes:
            self._remotes[node] = ray.remote(node)
        return self._remotes[node].remote(*args)

    def on_done(self, handle: Any, callback: Callable[[], None]) -> None:
        handle.future().add_done_callback(lambda _: callback())

    def result(self, handle: Any) -> Any:
        import ray

        return ray.get(handle, timeout=self._limit_s)


def _answer(handle: Any) -> str:
    import ray

    try:
        answer = ray.get(handle, timeout=_NODE_ANSWER_S)
    except ray.exceptions.RayTaskError as error:
        answer = error.cause
    except ray.exceptions.RayError as error:
        answer = error
    return " ".join(str(answer).split())


def init(**options: Any) -> Any:
    """`ray.init`, up to four times where Ray itself fails by chance.

    Raises:
        Exception: what `ray.init` raised, the last time or for any other reason.
    """
    import ray

    for _ in range(_STARTS - 1):
        try:
            return ray.init(**options)
        except Exception as failed:
            if not any(by_chance in str(failed) for by_chance in _BY_CHANCE):
                raise
            ray.shutdown()
    return ray.init(**options)


def local_node(workers: int, scratch: Path) -> dict[str, Any]:
    """A node of its own on loopback, with files in `scratch` and no dashboard, whose port may be in use."""
    return {
        "num_cpus": workers,
        "include_dashboard": False,
        **_QUIET,
        "_node_ip_address": "127.0.0.1",
        "_temp_dir": str(scratch / "ray"),
    }


ENGINE = Ray()
