"""Dask: prefect-dask's runner and the bare `distributed` client, on one cluster."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner_lab.runners.engine import RUNNING_CLUSTER, Cluster, ClusterSettings, Dependency, Engine
from runner_lab.runners.spec import ArmError, RunnerSpec

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner

_CLUSTER_KEYS = {**RUNNING_CLUSTER, "cluster_class": "text", "cluster_kwargs": "a table"}
_LOCAL_CLUSTERS = ("distributed.LocalCluster", "dask.distributed.LocalCluster")
_KEEP_WORKERS = {"distributed.deploy.lost-worker-timeout": "1 day"}
"""15 s after a worker's death a cluster gives it up for good if it is not there: also where it had come back, has
died again and is being started (`SpecCluster._update_worker_status`)."""


class Dask(Engine):
    name = "dask"
    title = "Dask"
    rank = 30
    reach = "cluster"
    runner_classes = frozenset({"DaskTaskRunner"})
    requires = (
        Dependency("prefect-dask", "prefect_dask"),
        Dependency("dask", "dask"),
        Dependency("distributed", "distributed"),
    )
    install = "runner-lab[dask]"
    cluster_keys = _CLUSTER_KEYS
    caveat = "Dask's workers may be on other hosts, all of which need your code, its packages and Prefect's API."
    palette = 4
    shares_cluster = True
    own_place = frozenset({"address", "cluster", "cluster_class", "cluster_kwargs"})
    forbids_reruns = "distributed.scheduler.allowed-failures: 0 in Dask's configuration of the scheduler"
    arms = (
        RunnerSpec("dask", "dask", "prefect_dask.DaskTaskRunner", summary="prefect-dask"),
        RunnerSpec(
            "lean-dask",
            "dask",
            "prefect_lean.LeanDaskTaskRunner",
            lean=True,
            summary="prefect-dask without most of its cost per task",
        ),
        RunnerSpec("bare-dask", "dask", bare=True, summary="distributed.Client, no Prefect"),
    )

    def check(self, spec: RunnerSpec, settings: ClusterSettings) -> None:
        super().check(spec, settings)
        if settings.cluster_class and self.shares(spec):
            try:
                inspect.signature(_load(spec.name, settings.cluster_class)).bind(**settings.cluster_kwargs)
            except TypeError as error:
                raise ArmError(spec.name, f"dask.cluster_kwargs: {settings.cluster_class} {error}") from None

    def slots_share_gil(self, spec: RunnerSpec, settings: ClusterSettings) -> bool | None:
        if self.shares(spec):
            declared = settings.address or settings.cluster_class
            known = settings.cluster_class in (None, *_LOCAL_CLUSTERS) and not settings.address
            shape = settings.cluster_kwargs if declared else local_cluster(spec.workers)
        else:
            known = not {"address", "cluster"} & spec.options.keys()
            known &= spec.options.get("cluster_class") in (None, *_LOCAL_CLUSTERS)
            shape = spec.options.get("cluster_kwargs", {})
        if not known:
            return None
        if shape.get("processes") is False or (shape.get("n_workers") == 1 and shape.get("threads_per_worker") != 1):
            return True
        return False if shape.get("threads_per_worker") == 1 else None

    def where(self, spec: RunnerSpec, settings: ClusterSettings) -> str:
        if not self.shares(spec):
            return self.place_of(spec)
        if settings.address:
            return f"the Dask cluster at {settings.address}"
        return f"{settings.cluster_class or f'a local cluster of {spec.workers} workers, one thread each'}"

    @contextmanager
    def cluster(self, workers: int, settings: ClusterSettings, scratch: Path) -> Iterator[Cluster]:
        import dask
        import distributed

        if settings.address:
            with distributed.Client(settings.address, timeout=settings.timeout_s, set_as_default=False):
                yield Cluster(settings.address, local=False)
            return
        started: Any
        if settings.cluster_class:
            started = _load("dask", settings.cluster_class)(**settings.cluster_kwargs)
        else:
            started = distributed.LocalCluster(**local_cluster(workers), silence_logs=logging.CRITICAL)
        with dask.config.set(_KEEP_WORKERS), started:
            # Any other class may start its workers on other hosts, where neither this project nor its files are.
            yield Cluster(started.scheduler_address, local=isinstance(started, distributed.LocalCluster))

    def slots(self, cluster: Cluster) -> int:
        import distributed

        with distributed.Client(cluster.address, set_as_default=False) as client:
            return sum(worker["nthreads"] for worker in client.scheduler_info(n_workers=-1)["workers"].values())

    def declared(self, runner: TaskRunner[Any]) -> tuple[int, dict[str, Any]]:
        places = {name: place for name in ("address", "cluster_class") if (place := getattr(runner, name, None))}
        shape = getattr(runner, "cluster_kwargs", None) or {}
        workers, threads = shape.get("n_workers"), shape.get("threads_per_worker")
        known = not places and isinstance(workers, int) and isinstance(threads, int)
        slots = int(workers) * int(threads) if known and workers and threads else 0
        return slots, {**places, **({"cluster_kwargs": shape} if shape else {})}

    def address(self, host: str, port: int) -> str:
        return f"tcp://{host}:{port}"

    def on_workers(self, address: str, function: Callable[..., str], *args: Any, limit_s: float) -> dict[str, str]:
        from distributed import Client

        try:
            with Client(address, timeout=limit_s, set_as_default=False) as client:
                answers = client.run(function, *args, on_error="return")
        except (OSError, TimeoutError) as error:
            return {address: f"the cluster does not answer: {error}"}
        return {worker: " ".join(str(answer).split()) for worker, answer in answers.items()}

    def options(self, spec: RunnerSpec, cluster: Cluster | None, scratch: Path = Path()) -> dict[str, Any]:
        if not self.shares(spec):
            return dict(spec.options)
        # By address: `duplicate()`, which each flow run calls, would lose a cluster object.
        place = {"address": cluster.address} if cluster else {"cluster_kwargs": local_cluster(spec.workers)}
        return {**place, **spec.options}

    def keywords(self, spec: RunnerSpec) -> dict[str, Any]:
        if not self.shares(spec):
            return dict(spec.options)
        return {"cluster_kwargs": {"n_workers": spec.workers, "threads_per_worker": 1}, **spec.options}

    @contextmanager
    def bare(self, spec: RunnerSpec, cluster: Cluster, limit_s: float) -> Iterator[BareDask]:
        import distributed

        with distributed.Client(cluster.address, set_as_default=False) as client:
            yield BareDask(client, limit_s)


class BareDask:
    def __init__(self, client: Any, limit_s: float) -> None:
        self._client = client
        self._limit_s = limit_s

    def submit(self, node: Any, *args: Any) -> Any:
        return self._client.submit(node, *args, pure=False)

    def on_done(self, handle: Any, callback: Callable[[], None]) -> None:
        handle.add_done_callback(lambda _: callback())

    def result(self, handle: Any) -> Any:
        return handle.result(timeout=self._limit_s)


def local_cluster(workers: int) -> dict[str, Any]:
    """One thread a worker, so that the slots are as many under every engine; any free port for the dashboard."""
    return {"n_workers": workers, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}


def _load(arm: str, path: str) -> Any:
    module_name, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module_name), name)
    except Exception as error:  # the module may be the user's: its import may raise anything
        raise ArmError(arm, f"dask.cluster_class: {path!r} cannot be imported ({error})") from None
    if not callable(found):
        raise ArmError(arm, f"dask.cluster_class: {path!r} is not a class")
    return found


ENGINE = Dask()
