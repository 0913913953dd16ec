"""The nouns of experiments on behaviour: what is done to a runner, the facts that are seen, and what they mean.

An experiment is made under each arm it means something for, and gives one finding for each: facts, measured, and a
judgement, which is a function of the facts alone.

A new one is a file in `benchmarks/experiments/` that says `SUITE = "faults"`, the command that it belongs to, and
`EXPERIMENTS`, one or more of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from runner_lab.records.findings import Judgement
from runner_lab.records.graph import GraphSpec, Work
from runner_lab.runners import catalog
from runner_lab.runners.engine import Cluster, ClusterSettings, Engine
from runner_lab.runners.spec import RunnerSpec

Facts = Mapping[str, Any]

WORKERS = 2


def every_engine(engine: Engine) -> bool:
    return True


def concurrent(engine: Engine) -> bool:
    """It runs two tasks at a time: a direct call ends before the next one begins."""
    return engine.concurrent


def separate_workers(engine: Engine) -> bool:
    """Tasks run in other processes than the flow's."""
    return engine.reach != "process"


def clustered(engine: Engine) -> bool:
    """Its runner can be told of a cluster that runs already."""
    return engine.shares_cluster and "address" in engine.own_place


class Scene:
    """What an experiment finds: an arm, its cluster, a folder of its own, and the lab's server.

    Args:
        arm: the runner, with its worker slots.
        folder: empty, for this experiment alone; local workers reach it.
        api_url: of the lab's Prefect server, which the environment points at as well.
        settings: what the command was told, such as the number of tasks.
        cluster: what the set-up has started; None where the runner makes what it needs for each flow run.
        note: told of facts as soon as they are known, so that they are not lost where the experiment hangs.
    """

    def __init__(
        self,
        arm: RunnerSpec,
        folder: Path,
        api_url: str,
        settings: Mapping[str, Any],
        cluster: Cluster | None,
        note: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self.arm = arm
        self.folder = folder
        self.api_url = api_url
        self.settings = settings
        self.cluster = cluster
        self._note = note

    @property
    def engine(self) -> Engine:
        return catalog.load().engine(self.arm)

    def task_runner(self, **options: Any) -> Any:
        """A new task runner of the arm on its cluster, with more keyword arguments for its class."""
        arm = replace(self.arm, options={**self.arm.options, **options})
        return catalog.load().engine(arm).task_runner(arm, self.cluster, self.folder)

    def note(self, **facts: Any) -> None:
        """Keep facts, JSON-able; a later one of the same name replaces the earlier."""
        self._note(facts)


@dataclass(frozen=True)
class SetUp:
    """What is up while experiments are made: they share it until one of them spoils it, fails or hangs.

    start: enters it for an arm, in a folder with a short path, with the settings of the command; gives its cluster.
    shared_by: arms for which it gives the same text share one.
    """

    start: Callable[[RunnerSpec, Path, Mapping[str, Any]], AbstractContextManager[Cluster | None]]
    shared_by: Callable[[RunnerSpec], str]


@contextmanager
def _own_cluster(arm: RunnerSpec, scratch: Path, settings: Mapping[str, Any]) -> Iterator[Cluster | None]:
    """The arm's cluster with two warm workers; nothing where its runner makes what it needs for each flow run."""
    engine = catalog.load().engine(arm)
    if not engine.shares(arm):
        yield None
        return
    with engine.cluster(WORKERS, ClusterSettings(), scratch) as cluster:
        # Every worker imports Prefect now, which else would pass for what an experiment shows.
        from runner_lab.flows.graph.fanout import fanout

        ledger = scratch / "warm"
        ledger.mkdir()
        runner = engine.task_runner(arm, cluster, scratch)
        fanout.with_options(task_runner=runner)(GraphSpec(width=2 * WORKERS, work=Work("sleep", 0.2)), str(ledger))
        yield cluster


OWN_CLUSTER = SetUp(_own_cluster, lambda arm: arm.name)
"""A cluster for each arm."""


@dataclass(frozen=True)
class Experiment:
    """One thing that is done to every runner.

    id: for `--only`, and for the reader to speak of.
    group: the theme; its name stands for all its experiments in `--only`.
    title: what is done, in a few words.
    measure: does it and notes facts. It may hang, and it may kill its process.
    judge: the finding, from the arm and the facts.
    hangs: the judgement where it does not end within `limit_s`, from what was noted until then; `judge` is not asked.
    limit_s: how long it may take, its set-up not counted; generous, since all that passes it is called a hang.
    spoils: whether the set-up is not to be used again after it, from its facts if need be.
    engines: those it means something for; all by default.
    arms: those it is made under, if not all of the command's.
    about: more for the reader, by the headings of a table.
    set_up: what has to be up for it.
    """

    id: str
    group: str
    title: str
    measure: Callable[[Scene], None]
    judge: Callable[[RunnerSpec, Facts], Judgement]
    hangs: Callable[[Facts], Judgement] | None = None
    limit_s: float = 120.0
    spoils: bool | Callable[[Facts], bool] = False
    engines: Callable[[Engine], bool] = every_engine
    arms: Sequence[str] | None = None
    about: Mapping[str, str] = field(default_factory=dict)
    set_up: SetUp = OWN_CLUSTER

    @property
    def module(self) -> str:
        """The module that makes it, and lists it in its `EXPERIMENTS`."""
        measure = self.measure.func if isinstance(self.measure, partial) else self.measure
        return measure.__module__

    @property
    def code(self) -> str:
        """Path in the repository of what it does."""
        return f"{self.module.removeprefix('runner_lab.').replace('.', '/')}.py"

    def means_something_for(self, arm: RunnerSpec) -> bool:
        return self.engines(catalog.load().engine(arm)) and (self.arms is None or arm.name in self.arms)

    def leaves_it_spoilt(self, facts: Facts) -> bool:
        return self.spoils(facts) if callable(self.spoils) else self.spoils
