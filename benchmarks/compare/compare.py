"""A flow of the user's under every arm: the session that `runner-lab compare` runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runner_lab.benchmarks.compare import user_flow, user_runs
from runner_lab.benchmarks.compare.agreement import Agreement
from runner_lab.benchmarks.compare.output import captured
from runner_lab.benchmarks.compare.user_flow import FlowSpec, UserFlow
from runner_lab.benchmarks.measuring.measure import Site, blank_record
from runner_lab.benchmarks.measuring.measure import measure as measured
from runner_lab.benchmarks.profiles import Profile, Suite
from runner_lab.benchmarks.session.options import UsageError
from runner_lab.benchmarks.session.plan import Cell
from runner_lab.benchmarks.session.run_folder import RunFolder
from runner_lab.benchmarks.session.session import Options, Say, Session
from runner_lab.benchmarks.session.stages import Stages, small_pass
from runner_lab.records.flow_run import SUITE as COMPARE
from runner_lab.records.record import Record
from runner_lab.runners.catalog import BASELINE, CONTROL
from runner_lab.runners.spec import ArmError, RunnerSpec

SUITE = Suite(COMPARE)
ARMS = (BASELINE, CONTROL, "processes", "dask", "ray")
"""By default: what Prefect and its integrations bring. The lean arms and a user's own are named by --runners."""
BLOCKS = 5
OUTPUT = "output.log"


@dataclass(frozen=True)
class Asked:
    """The flow to compare, as on the command line."""

    target: str
    parameters: Sequence[str] = ()
    check_result: bool = True


class Comparison(Session):
    """
    Raises:
        FlowError: the flow cannot be compared as it was named.
        UsageError, ArmError, ConfigError, RecordError: the options make no run.
    """

    program = "runner-lab"

    def __init__(self, asked: Asked, options: Options, say: Say = lambda line: None) -> None:
        self._asked = asked
        self._agreement = Agreement(asked.check_result, alike=(BASELINE, CONTROL))
        self._warm: set[str] = set()
        super().__init__(options, say)

    @property
    def spec(self) -> FlowSpec:
        return self._user.spec

    @property
    def label(self) -> str:
        name = self.spec.name.partition("(")[0].replace(".", "-")
        return f"{COMPARE}-{name}"

    def notes(self) -> list[str]:
        """What the flow's source tells before anything is measured."""
        from runner_lab.reports.words.described import described

        return described(self.spec.as_dict()).notes()

    def plan(self) -> list[Cell]:
        """The cells in their order.

        Raises:
            UsageError: the run to resume is another flow's.
        """
        cells = self.order(self.cells(SUITE))
        if not cells:
            raise UsageError(f"--lab-resume {self._options.resume}: that run is not one of {self.spec.name}")
        return cells

    def run(self, cells: Sequence[Cell], done: Callable[[Record], None]) -> bool:
        """Measure the cells, and stop everything; a flow that fails under every arm is not measured again.

        Returns:
            Whether Ctrl-C ended it.
        """
        interrupted = hopeless = False
        records: list[Record] = []
        with captured(self.folder.path / OUTPUT):
            try:
                self._take_up(cells)
                for cell in cells:
                    hopeless = cell.block > 0 and all(record.status == "error" for record in records)
                    if hopeless:
                        break
                    records.append(self.measure(cell))
                    done(records[-1])
            except KeyboardInterrupt:
                interrupted = True
            finally:
                self.close(interrupted)
        if hopeless:
            self.folder.save(planned_cells=len(records), interrupted=False)
        return interrupted

    def _take_up(self, cells: Sequence[Cell]) -> None:
        """Give a run that is resumed its reference again: else the first arm that is left would be the one."""
        left = [cell for cell in cells if cell.key not in self.folder.records]
        if not (self._asked.check_result and self.records and left):
            return
        for record in self.records:
            self._agreement.recall(record.flow_run.remark if record.flow_run else "")
        if self._agreement.given_up:
            return
        assert self._stages is not None
        baseline = next(cell for cell in cells if cell.arm.name == BASELINE)
        blank = blank_record(baseline, self.folder.plan.run_id, self._environment)
        # Of the cell itself nothing is measured: its warm-up is the pass whose result is judged first.
        record = measured(baseline, 0, self._stages.ready, blank, body=lambda cell, site, blank: blank)
        if record.status == "error":
            self._agreement.give_up(f"{BASELINE} gave no result to compare with: {record.error}")
            self._come_to_rest(self._stages)

    def _profile(self, earlier: RunFolder | None) -> Profile:
        if earlier and earlier.plan.profile != COMPARE:
            raise UsageError(f"--lab-resume {self._options.resume}: go on with it by pytest benchmarks --lab-resume")
        self._user: UserFlow = user_flow.load(self._asked.target, self._asked.parameters, self._scratch)
        return Profile(COMPARE, ARMS, BLOCKS, {COMPARE: (self._user.spec,)})

    def _names(self) -> list[str]:
        """The arms that are named, with the baseline and the control, which every comparison needs."""
        return list(dict.fromkeys([BASELINE, CONTROL, *super()._names()]))

    def _plan(self, options: Options) -> None:
        super()._plan(options)
        for arm in self.arms:
            _refuse_no_runner(arm)

    def _record(self, cell: Cell, stages: Stages, blank: Record) -> Record:
        return user_runs.measure(cell, self._positions[cell.key], stages.ready, blank, self._user, self._agreement)

    def _warm_up(self, cell: Cell, site: Site) -> None:
        """By the flow itself. Threads are this process, which stays: once for all blocks is enough."""
        if not isinstance(cell.graph, FlowSpec):
            small_pass(cell, site)
        elif cell.arm.engine != "threads" or cell.arm.name not in self._warm:
            user_runs.warm_up(cell, site, self._user, self._agreement)
            self._warm.add(cell.arm.name)


def _refuse_no_runner(arm: RunnerSpec) -> None:
    """
    Raises:
        ArmError: the arm has no task runner to give to a flow.
    """
    if arm.direct or arm.bare:
        what = "calls tasks directly" if arm.direct else "runs without Prefect"
        raise ArmError(arm.name, f"{what}, which takes a flow written for it: compare yours under task runners")
