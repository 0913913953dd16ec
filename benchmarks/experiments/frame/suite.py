"""A suite of experiments: those that are one command and one table, and what they all need to be there."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from runner_lab.benchmarks import experiments as files
from runner_lab.benchmarks.experiments.frame.experiment import WORKERS, Experiment
from runner_lab.benchmarks.session.stages import Say
from runner_lab.records.record import CONTROL
from runner_lab.runners import catalog
from runner_lab.runners.isolation.environment import environment, free_port, isolated
from runner_lab.runners.server import Server, lab_server
from runner_lab.runners.spec import RunnerSpec


@dataclass(frozen=True)
class Surroundings:
    """What is up for all experiments of a suite. `settings`: what they must know of it, JSON-able."""

    server: Server
    settings: Mapping[str, Any] = field(default_factory=dict)


@contextmanager
def one_machine(scratch: Path, say: Say) -> Iterator[Surroundings]:
    """The lab's Prefect server on this machine, and an environment that points at it.

    Raises:
        ServerError: it does not start.
    """
    port = free_port()
    with isolated(environment(scratch / "home", f"http://127.0.0.1:{port}/api")):
        say("starting the lab's Prefect server")
        with lab_server(scratch / "home", port=port) as server:
            yield Surroundings(server)


def every_arm() -> list[RunnerSpec]:
    """Prefect's runners and the lean ones, each lean one after its like."""
    arms = [arm for arm in catalog.load().arms.values() if arm.class_path and not arm.bare and arm.name != CONTROL]
    stock = [arm for arm in arms if not arm.lean]
    pairs = [(arm, *(lean for lean in arms if lean.lean and lean.name == f"lean-{arm.name}")) for arm in stock]
    listed = [arm for pair in pairs for arm in pair]
    return [arm.with_workers(WORKERS) for arm in [*listed, *(arm for arm in arms if arm not in listed)]]


@dataclass(frozen=True)
class ExperimentSuite:
    """Experiments that are one command and one table.

    name: of the command and of its JSON file; the `SUITE` of the files of its experiments.
    title: heading of the table.
    groups: the order of its rows; others come after them.
    arms: those it is made under, in the order of its columns.
    surroundings: enters what is up for all of it, in a folder with a short path.
    check: raises ValueError where this machine cannot have them; one line.
    """

    name: str
    title: str
    groups: Sequence[str]
    arms: Callable[[], list[RunnerSpec]] = every_arm
    surroundings: Callable[[Path, Say], AbstractContextManager[Surroundings]] = one_machine
    check: Callable[[], None] = lambda: None

    def experiments(self) -> list[Experiment]:
        """Those of all files in `benchmarks/experiments/` that name this suite.

        Raises:
            ValueError: two of one id, or one that is made by another file than the one that lists it.
        """
        found: list[Experiment] = []
        for info in pkgutil.iter_modules(files.__path__, f"{files.__name__}."):
            if info.ispkg:
                continue
            module = import_module(info.name)
            if getattr(module, "SUITE", None) == self.name:
                found += _listed(info.name, module.EXPERIMENTS)
        if doubled := {one.id for one in found if sum(other.id == one.id for other in found) > 1}:
            raise ValueError(f"two experiments of {self.name} are called {min(doubled)}: give one another id")
        order = {group: place for place, group in enumerate(self.groups)}
        return sorted(found, key=lambda experiment: order.get(experiment.group, len(order)))


def _listed(module: str, experiments: Sequence[Experiment]) -> Sequence[Experiment]:
    if strange := next((one for one in experiments if one.module != module), None):
        raise ValueError(f"experiment {strange.id} is listed in {module}: its measure must be a function of that file")
    return experiments
