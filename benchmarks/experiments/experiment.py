"""The nouns of experiments on behaviour: what is done to a runner, the facts that are seen, and what they mean.

A suite is a list of experiments. Each is made under each arm, and gives one finding for each: facts, measured, and a
judgement, which is a function of the facts alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from runner_lab.runners import catalog
from runner_lab.runners.engine import Cluster
from runner_lab.runners.spec import EngineName, RunnerSpec

Symbol = Literal["ok", "warn", "bad", "unknown"]
Facts = Mapping[str, Any]

ARMS = ("threads", "lean-threads", "processes", "lean-processes", "dask", "lean-dask", "ray", "lean-ray")
WORKERS = 2


@dataclass(frozen=True)
class Judgement:
    """What the facts mean.

    symbol: `ok`: as one would wish. `warn`: to be known before one relies on it. `bad`: work is lost, hangs or is done
        twice, or the record of it is wrong. `unknown`: the experiment did not show it.
    words: a few, for one cell of a table.
    remedy: what a user should do; empty where it is `ok`.
    """

    symbol: Symbol
    words: str
    remedy: str = ""


class Scene:
    """What an experiment finds: an arm, its cluster, a folder of its own, and the lab's server.

    Args:
        arm: the runner, with its worker slots.
        folder: empty, for this experiment alone; local workers reach it.
        api_url: of the lab's Prefect server, which the environment points at as well.
        settings: what the command was told, such as the number of tasks.
        cluster: gives the cluster that all experiments of the arm share, and starts it for the first that asks.
        note: told of facts as soon as they are known, so that they are not lost where the experiment hangs.
    """

    def __init__(
        self,
        arm: RunnerSpec,
        folder: Path,
        api_url: str,
        settings: Mapping[str, Any],
        cluster: Callable[[], Cluster | None],
        note: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self.arm = arm
        self.folder = folder
        self.api_url = api_url
        self.settings = settings
        self._cluster = cluster
        self._note = note

    @property
    def cluster(self) -> Cluster | None:
        """None for an engine whose runner makes what it needs for each flow run."""
        return self._cluster()

    def task_runner(self, **options: Any) -> Any:
        """A new task runner of the arm on its cluster, with more keyword arguments for its class."""
        arm = replace(self.arm, options={**self.arm.options, **options})
        return catalog.load().engine(arm).task_runner(arm, self.cluster, self.folder)

    def note(self, **facts: Any) -> None:
        """Keep facts, JSON-able; a later one of the same name replaces the earlier."""
        self._note(facts)


@dataclass(frozen=True)
class Experiment:
    """One thing that is done to every runner.

    id: for `--only`, and for the reader to speak of.
    group: the theme; its name stands for all its experiments in `--only`.
    title: what is done, in a few words.
    measure: does it and notes facts. It may hang, and it may kill its process.
    judge: the finding, from the arm and the facts.
    hangs: the judgement where it does not end within `limit_s`, from what was noted until then; `judge` is not asked.
    dies: the judgement where its process died; `judge` is not asked then.
    limit_s: how long it may take; generous, since all that passes it is called a hang.
    spoils: the arm's cluster and process are not used again after it.
    engines: those it means something for; all by default.
    """

    id: str
    group: str
    title: str
    measure: Callable[[Scene], None]
    judge: Callable[[RunnerSpec, Facts], Judgement]
    hangs: Callable[[Facts], Judgement] | None = None
    dies: Judgement | None = None
    limit_s: float = 120.0
    spoils: bool = False
    engines: tuple[EngineName, ...] = field(default=get_args(EngineName))

    @property
    def code(self) -> str:
        """Path in the repository of what it does."""
        measure = self.measure.func if isinstance(self.measure, partial) else self.measure
        return f"{measure.__module__.removeprefix('runner_lab.').replace('.', '/')}.py"


@dataclass(frozen=True)
class Suite:
    """Experiments that are one command and one table.

    name: of the command and of its JSON file.
    module: where it is found, as `SUITE`, by the processes that make its experiments.
    title: heading of the table.
    arms: those it is made under, in the order of its columns.
    """

    name: str
    module: str
    title: str
    experiments: Sequence[Experiment]
    arms: Sequence[str] = ARMS
