"""Can a task run on dedicated infrastructure? Each way to ask for a place is tried, and where its tasks landed is seen.

A way is proven when every task landed where it was asked to, for each of two places in turn: what lands anywhere, or
always in one place, cannot do that.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from runner_lab.benchmarks.experiments.frame.experiment import Experiment, Facts, Scene, SetUp
from runner_lab.benchmarks.experiments.places import GROUPS, PLACES
from runner_lab.benchmarks.measuring.measure import error_line
from runner_lab.flows.experiments.noted import VARIABLE
from runner_lab.records.findings import Judgement
from runner_lab.reports.words.units import seconds as shown
from runner_lab.runners.engine import Cluster
from runner_lab.runners.spec import RunnerSpec

SUITE = "placement"
LIMIT_S = 300.0
"""For one way under one runner, all its rounds."""
DRIVER = "the flow's process"
NOWHERE = "no worker"


@dataclass(frozen=True)
class Way:
    """A way to ask for a place.

    id: of its experiment.
    flow: its name in `flows.experiments.placement`.
    group: what must be up for it; a name of `benchmarks.experiments.places.GROUPS`.
    asks: how a place is asked for, in a few words.
    places_a: what it places, `task` or another; empty where it places nothing.
    needs, cannot: for the table.
    arms: those it is tried under.
    places: what is asked for in turn; one that only one place offers is asked for alone.
    rounds: times each place is asked for and timed, after a first time that is not: it pays for imports.
    """

    id: str
    flow: str
    group: str
    asks: str
    places_a: str
    needs: str
    cannot: str
    arms: tuple[str, ...]
    places: tuple[str, ...] = PLACES
    rounds: int = 3

    def in_turn(self) -> list[str]:
        """There and back: a scheduler that takes its workers in turn must not seem to do as it was asked."""
        return [place for i in range(1 + self.rounds) for place in (self.places if i % 2 == 0 else self.places[::-1])]


def try_way(scene: Scene, way: Way) -> None:
    from runner_lab.flows.experiments.placement import visits

    try:
        visited = visits.with_options(task_runner=scene.task_runner())(way.flow, way.in_turn())
    except Exception as error:
        scene.note(raised=error_line(error))
        return
    timed_s = [visit.seconds for visit in visited[len(way.places) :]]
    scene.note(
        as_asked=sum(_landed(visit.places) == [visit.asked] for visit in visited),
        of_visits=len(visited),
        placement_ms=round(statistics.median(timed_s) * 1e3, 1) if timed_s else None,
        timed=len(timed_s),
        visits=[{**asdict(visit), "landed": _landed(visit.places)} for visit in visited],
    )


def _landed(places: Sequence[Any]) -> list[str]:
    names = {
        DRIVER if place.pid == os.getpid() else place.variable or place.worker or f"process {place.pid}"
        for place in places
    }
    return sorted(names) or [NOWHERE]


def judge_way(arm: RunnerSpec, facts: Facts, way: Way) -> Judgement:
    if "raised" in facts:
        return Judgement("bad", f"raises {facts['raised']}", f"It needs {way.needs}.")
    words = f"{facts['as_asked']} of {facts['of_visits']} as asked"
    if facts["placement_ms"] is not None:
        words += f", {shown(facts['placement_ms'] / 1e3)} each"
    if facts["of_visits"] and facts["as_asked"] == facts["of_visits"]:
        return Judgement("ok", words)
    wrong = {(visit["asked"], " and ".join(visit["landed"])) for visit in facts["visits"]}
    elsewhere = "; ".join(f"asked for {place}, landed in {there}" for place, there in sorted(wrong) if place != there)
    words = f"{words}: {elsewhere}"
    remedy = f"Do not rely on it for a place. It cannot {way.cannot}."
    lost = any(visit["landed"] == [NOWHERE] for visit in facts["visits"])
    return Judgement("bad" if lost or way.places_a else "warn", words, remedy)


@contextmanager
def _places(
    start: Callable[[Path], AbstractContextManager[Cluster]],
    arm: RunnerSpec,
    scratch: Path,
    settings: Mapping[str, Any],
) -> Iterator[Cluster]:
    # It stands for a place, and the lab is in none.
    os.environ.pop(VARIABLE, None)
    with start(scratch) as cluster:
        yield cluster


def _of(group: str) -> Callable[[RunnerSpec], str]:
    return lambda arm: group


SET_UPS = {group: SetUp(partial(_places, start), _of(group)) for group, start in GROUPS.items()}


def experiment(way: Way) -> Experiment:
    return Experiment(
        id=way.id,
        group=way.group,
        title=way.asks,
        measure=partial(try_way, way=way),
        judge=partial(judge_way, way=way),
        limit_s=LIMIT_S,
        # What raised in the middle may have left its tasks in the cluster.
        spoils=lambda facts: "raised" in facts,
        arms=way.arms,
        about={"Places": way.places_a or "nothing", "Needs": way.needs, "Cannot": way.cannot},
        set_up=SET_UPS[way.group],
    )


_DASK = ("dask", "lean-dask")
_RAY = ("ray", "lean-ray")

WAYS = (
    Way(
        "dask-nothing-asked",
        "nothing_asked",
        "dask",
        "nothing asked of Dask, .submit",
        "",
        "a Dask cluster",
        "choose: Dask takes the worker that is free",
        ("dask",),
    ),
    Way(
        "dask-resources",
        "dask_resources",
        "dask",
        "annotate(resources=), .submit",
        "task",
        "workers started with --resources",
        "start a worker that is not there: the task waits for one",
        _DASK,
    ),
    Way(
        "dask-resources-map",
        "dask_resources_map",
        "dask",
        "annotate(resources=), .map",
        "task",
        "workers started with --resources",
        "tell the tasks of one map apart: all get the same",
        _DASK,
    ),
    Way(
        "dask-workers",
        "dask_workers",
        "dask",
        "annotate(workers=), .submit",
        "task",
        "the name or address of the worker",
        "outlive the worker: the task waits for that one",
        _DASK,
    ),
    Way(
        "dask-direct-call",
        "dask_direct_call",
        "dask",
        "annotate(resources=), direct call",
        "",
        "nothing",
        "place anything: a direct call runs in the flow's process, without a word",
        ("dask",),
        rounds=1,
    ),
    Way(
        "dask-absent",
        "dask_absent",
        "dask",
        "annotate(resources=) that no worker has",
        "",
        "nothing",
        "end: the task is never started and nothing says so",
        ("dask",),
        places=("absent",),
        rounds=0,
    ),
    Way(
        "dask-tag-limit",
        "tag_limit",
        "dask",
        "a concurrency limit on a tag",
        "",
        "prefect concurrency-limit create TAG 1",
        "place anything: it says how many run at a time, not where",
        ("dask",),
        rounds=1,
    ),
    Way(
        "ray-nothing-asked",
        "nothing_asked",
        "ray",
        "nothing asked of Ray, .submit",
        "",
        "a Ray cluster",
        "choose: Ray takes a node with a free CPU",
        ("ray",),
        rounds=1,
    ),
    Way(
        "ray-resources",
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
        "ray-resources-map",
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
        "ray-label",
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
        "ray-node",
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
        "ray-cpus",
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
        "ray-gpus",
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
        "ray-runtime-env",
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
        "ray-direct-call",
        "ray_direct_call",
        "ray",
        "remote_options(resources=), direct call",
        "",
        "nothing",
        "place anything: a direct call runs in the flow's process, without a word",
        ("ray",),
        rounds=1,
    ),
    Way(
        "ray-absent",
        "ray_absent",
        "ray",
        "remote_options(resources=) that no node has",
        "",
        "nothing",
        "end: the task is never started and nothing says so",
        ("ray",),
        places=("absent",),
        rounds=0,
    ),
    Way(
        "task-delay",
        "background",
        "background",
        "task.delay()",
        "task",
        "a process there that serves the task, and storage for results that both reach",
        "choose between places that serve the same task: so a task for each place",
        ("threads",),
    ),
    Way(
        "prefect-task-runner",
        "prefect_task_runner",
        "background",
        "PrefectTaskRunner, .submit",
        "task",
        "a process there that serves the task, and storage for results that both reach",
        "run a task that nobody serves: it stays Scheduled",
        ("prefect",),
    ),
    Way(
        "run-deployment",
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
EXPERIMENTS = tuple(experiment(way) for way in WAYS)
