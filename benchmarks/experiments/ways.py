"""The ways to ask for a place, each a flow of `flows.experiments.placement`: what it needs, and what it cannot do."""

from __future__ import annotations

from dataclasses import dataclass

from runner_lab.benchmarks.experiments.places import PLACES


@dataclass(frozen=True)
class Way:
    """
    flow: its name in `flows.experiments.placement`.
    group: what must be up for it; a name of `benchmarks.experiments.places.GROUPS`.
    asks: how a place is asked for, in a few words.
    unit: what it places.
    needs, cannot: for the table.
    runners: arms it is tried under.
    places: what is asked for in turn; one that only one place offers is asked for alone.
    rounds: times each place is asked for and timed, after a first time that is not: it pays for imports.
    """

    flow: str
    group: str
    asks: str
    unit: str
    needs: str
    cannot: str
    runners: tuple[str, ...]
    places: tuple[str, ...] = PLACES
    rounds: int = 3


_DASK = ("dask", "lean-dask")
_RAY = ("ray", "lean-ray")

WAYS = (
    Way(
        "nothing_asked",
        "dask",
        ".submit, nothing asked",
        "nothing",
        "a Dask cluster",
        "choose: Dask takes the worker that is free",
        ("dask",),
    ),
    Way(
        "dask_resources",
        "dask",
        "annotate(resources=), .submit",
        "task",
        "workers started with --resources",
        "start a worker that is not there: the task waits for one",
        _DASK,
    ),
    Way(
        "dask_resources_map",
        "dask",
        "annotate(resources=), .map",
        "task",
        "workers started with --resources",
        "tell the tasks of one map apart: all get the same",
        _DASK,
    ),
    Way(
        "dask_workers",
        "dask",
        "annotate(workers=), .submit",
        "task",
        "the name or address of the worker",
        "outlive the worker: the task waits for that one",
        _DASK,
    ),
    Way(
        "dask_direct_call",
        "dask",
        "annotate(resources=), direct call",
        "nothing",
        "-",
        "place anything: a direct call runs in the flow's process, without a word",
        ("dask",),
        rounds=1,
    ),
    Way(
        "dask_absent",
        "dask",
        "annotate(resources=) that no worker has",
        "nothing",
        "-",
        "end: the task is never started and nothing says so",
        ("dask",),
        places=("absent",),
        rounds=0,
    ),
    Way(
        "tag_limit",
        "dask",
        "a concurrency limit on a tag",
        "nothing",
        "prefect concurrency-limit create TAG 1",
        "place anything: it says how many run at a time, not where",
        ("dask",),
        rounds=1,
    ),
    Way(
        "nothing_asked",
        "ray",
        ".submit, nothing asked",
        "nothing",
        "a Ray cluster",
        "choose: Ray takes a node with a free CPU",
        ("ray",),
        rounds=1,
    ),
    Way(
        "ray_resources",
        "ray",
        "remote_options(resources=), .submit",
        "task",
        "nodes started with --resources",
        "start a node that is not there, without an autoscaler: the task waits",
        _RAY,
        rounds=2,
    ),
    Way(
        "ray_resources_map",
        "ray",
        "remote_options(resources=), .map",
        "task",
        "nodes started with --resources",
        "tell the tasks of one map apart: all get the same",
        _RAY,
        rounds=2,
    ),
    Way(
        "ray_label",
        "ray",
        "remote_options(label_selector=)",
        "task",
        "nodes started with --labels",
        "count: any number of tasks may land there, as far as its CPUs go",
        _RAY,
        rounds=2,
    ),
    Way(
        "ray_node",
        "ray",
        "remote_options(scheduling_strategy=)",
        "task",
        "the id of the node",
        "outlive the node: with soft=False the task fails with it",
        _RAY,
        rounds=2,
    ),
    Way(
        "ray_cpus",
        "ray",
        "remote_options(num_cpus=)",
        "task",
        "one node with more CPUs than the rest",
        "name a place: only what is large enough is ruled in",
        _RAY,
        places=("right",),
        rounds=2,
    ),
    Way(
        "ray_gpus",
        "ray",
        "remote_options(num_gpus=)",
        "task",
        "nodes with GPUs, or started with --num-gpus",
        "check that there is a GPU: here it was one on paper. Ray starts a process for each such task",
        _RAY,
        places=("right",),
        rounds=2,
    ),
    Way(
        "ray_runtime_env",
        "ray",
        "remote_options(runtime_env=)",
        "environment",
        "nothing more",
        "choose the machine: what it gives is a process with an environment of its own, on any node",
        _RAY,
        rounds=2,
    ),
    Way(
        "ray_direct_call",
        "ray",
        "remote_options(resources=), direct call",
        "nothing",
        "-",
        "place anything: a direct call runs in the flow's process, without a word",
        ("ray",),
        rounds=1,
    ),
    Way(
        "ray_absent",
        "ray",
        "remote_options(resources=) that no node has",
        "nothing",
        "-",
        "end: the task is never started and nothing says so",
        ("ray",),
        places=("absent",),
        rounds=0,
    ),
    Way(
        "background",
        "background",
        "task.delay()",
        "task",
        "a process there that serves the task, and storage for results that both reach",
        "choose between places that serve the same task: so a task for each place",
        ("threads",),
    ),
    Way(
        "prefect_task_runner",
        "background",
        "PrefectTaskRunner, .submit",
        "task",
        "a process there that serves the task, and storage for results that both reach",
        "run a task that nobody serves: it stays Scheduled",
        ("prefect",),
    ),
    Way(
        "deployment",
        "deployment",
        "run_deployment()",
        "flow",
        "a work pool with a worker there, and a deployment in it",
        "place a task: each placement is a flow run and a process that imports Prefect",
        ("threads",),
        rounds=1,
    ),
)
