"""A flow of the user's under every arm: what `runner-lab compare` measures, and in which order of events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner_lab.benchmarks.compare import user_flow, user_runs
from runner_lab.benchmarks.compare.agreement import Agreement
from runner_lab.benchmarks.compare.driver_process import Drivers
from runner_lab.benchmarks.compare.output import captured
from runner_lab.benchmarks.compare.user_flow import LoadedFlow
from runner_lab.benchmarks.compare.user_runs import FlowSite
from runner_lab.benchmarks.measuring.measure import Site
from runner_lab.benchmarks.profiles import Profile, Suite
from runner_lab.benchmarks.session import options
from runner_lab.benchmarks.session.api_places import ApiPlaces
from runner_lab.benchmarks.session.options import Options, UsageError
from runner_lab.benchmarks.session.plan import PlannedCell
from runner_lab.benchmarks.session.session import Session
from runner_lab.benchmarks.session.stages import Limits, Say
from runner_lab.records.graph import UserFlowSpec
from runner_lab.records.record import COMPARE, CONTROL, YOURS, Record
from runner_lab.runners.catalog import STOCK, Catalog
from runner_lab.runners.server import Server
from runner_lab.runners.spec import ArmError, RunnerSpec

SUITE = Suite(COMPARE)
ARMS = (YOURS, CONTROL, STOCK)
"""By default: the flow's own runner, and what Prefect and its integrations bring. The lean arms and a user's own are
named by --runners."""
BLOCKS = 5
OUTPUT = "output.log"


@dataclass(frozen=True)
class FlowRequest:
    """The flow to compare, as on the command line.

    values_shown: what is written may hold the values of its parameters.
    """

    target: str
    parameters: Sequence[str] = ()
    check_result: bool = True
    values_shown: bool = True


class UserFlow:
    """The workload of a comparison: one flow, and what its results are compared with."""

    program = "runner-lab"

    def __init__(self, asked: FlowRequest) -> None:
        self._asked = asked
        self._loaded: LoadedFlow | None = None
        self.agreement = Agreement(asked.check_result, alike=(YOURS, CONTROL))

    @property
    def loaded(self) -> LoadedFlow:
        """The flow, once the session has made its environment."""
        assert self._loaded is not None
        return self._loaded

    @property
    def spec(self) -> UserFlowSpec:
        return self.loaded.spec

    def notes(self) -> list[str]:
        """What the flow's source tells before anything is measured."""
        from runner_lab.reports.words.described import described

        return described(self.spec).notes()

    def profile(self, asked: Options, resumed: str | None, scratch: Path) -> Profile:
        """
        Raises:
            FlowError: the flow cannot be compared as it was named.
            UsageError: the run to resume is no comparison.
        """
        if resumed not in (None, COMPARE):
            raise UsageError(f"--lab-resume {asked.resume}: resume it with pytest benchmarks --lab-resume")
        self._loaded = user_flow.load(self._asked.target, self._asked.parameters, scratch, self._asked.values_shown)
        return Profile(COMPARE, ARMS, BLOCKS, {COMPARE: (self.spec,)}, baseline=YOURS, suitable_slots=True)

    def catalog(self, catalog: Catalog) -> Catalog:
        return catalog.with_yours(self.loaded.flow.task_runner)

    def arms(self, asked: Options, profile: Profile) -> list[str]:
        """The arms that are named, with the flow's own runner and the control, which every comparison needs."""
        return list(dict.fromkeys([YOURS, CONTROL, *options.names(asked.runners, profile)]))

    def check_arm(self, arm: RunnerSpec) -> None:
        """
        Raises:
            ArmError: the arm has no task runner to give to a flow.
        """
        if not arm.class_path:
            what = "runs without Prefect" if arm.bare else "has no task runner"
            raise ArmError(arm.name, f"{what}, and takes a flow written for it: compare yours under task runners")

    def repeats(self, arm: RunnerSpec, catalog: Catalog) -> bool:
        """Where the flow's own runner is Prefect's default, `threads` is the same once more."""
        yours = catalog.arms[YOURS]
        return (
            not arm.as_declared
            and not catalog.engine(arm).shares_cluster
            and (arm.class_path, arm.workers) == (yours.class_path, yours.workers)
            and not arm.options
        )

    def label(self, profile: Profile) -> str:
        return f"{COMPARE}-{self.spec.name.partition('(')[0].replace('.', '-')}"

    def stages(
        self, catalog: Catalog, server: Server, places: ApiPlaces, scratch: Path, limits: Limits, say: Say
    ) -> Drivers:
        return Drivers(self.loaded, catalog, server, scratch, limits, self._warm_up, say)

    def _warm_up(self, cell: PlannedCell, site: FlowSite) -> None:
        user_runs.warm_up(cell, site, self.agreement)

    def measure(self, cell: PlannedCell, site: Site, blank: Record) -> Record:
        assert isinstance(site, FlowSite)
        return user_runs.measure_flow(cell, site, blank, self.agreement)


def plan(session: Session, flow: UserFlow) -> list[PlannedCell]:
    """The cells of a comparison in their order.

    Raises:
        UsageError: the run to resume is another flow's.
    """
    cells = session.order(session.cells(SUITE))
    if not cells:
        raise UsageError(f"--lab-resume {session.options.resume}: that run is not one of {flow.spec.name}")
    return cells


def run(session: Session, flow: UserFlow, cells: Sequence[PlannedCell], done: Callable[[Record], None]) -> bool:
    """Measure the cells, and stop everything; a flow that fails under every arm is not measured again.

    Returns:
        Whether Ctrl-C ended it.
    """
    interrupted = hopeless = False
    records: list[Record] = []
    with captured(session.folder.path / OUTPUT):
        try:
            _recall_reference(session, flow, cells)
            for cell in cells:
                hopeless = cell.block > 0 and all(record.status == "error" for record in records)
                if hopeless:
                    break
                for record in session.measure(cell):
                    records.append(record)
                    done(record)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            session.close(interrupted)
    if hopeless:
        session.folder.save(planned_cells=len(records), interrupted=False)
    return interrupted


def _recall_reference(session: Session, flow: UserFlow, cells: Sequence[PlannedCell]) -> None:
    """Give a run that is resumed its reference again: else the first arm that is left would be the one."""
    earlier = session.folder.records
    if not flow.agreement.checks or not earlier or all(cell.id in earlier for cell in cells):
        return
    for record in earlier.values():
        if record.flow_run is not None:
            flow.agreement.recall(record.flow_run)
    if flow.agreement.given_up:
        return
    # The baseline's warm-up is the pass whose result is judged first.
    failure = session.prepare(next(cell for cell in cells if cell.arm.name == YOURS))
    if failure is not None:
        flow.agreement.give_up(f"{YOURS} gave no result to compare with: {failure}")
