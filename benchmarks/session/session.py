"""One run of the lab: from the options of the command line to records on disk."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from runner_lab.benchmarks.measuring import environment, measure, quiescence
from runner_lab.benchmarks.measuring.measure import Site
from runner_lab.benchmarks.measuring.remote_cluster import check_slots, refuse_another_host
from runner_lab.benchmarks.measuring.server_runs import UnansweredError
from runner_lab.benchmarks.profiles import Profile, Suite
from runner_lab.benchmarks.session import forecast, options
from runner_lab.benchmarks.session.interrupts import Interrupts
from runner_lab.benchmarks.session.options import Options, blocks, check, names, server_settings
from runner_lab.benchmarks.session.plan import Cell, Search, Wide, applies, order
from runner_lab.benchmarks.session.progress import Progress
from runner_lab.benchmarks.session.run_folder import Plan, RunFolder, new_run_id, now
from runner_lab.benchmarks.session.search import durations
from runner_lab.benchmarks.session.stages import Limits, Stages, small_pass
from runner_lab.records.graph import GraphSpec
from runner_lab.records.record import Record
from runner_lab.reports.analysis.run import family
from runner_lab.runners import catalog as catalogs
from runner_lab.runners.catalog import BASELINE, Catalog
from runner_lab.runners.isolation.environment import environment as lab_environment
from runner_lab.runners.isolation.environment import free_port, isolated
from runner_lab.runners.isolation.guard import guarded, new_scratch
from runner_lab.runners.server import Server, ServerError, existing_server, lab_server, without_password
from runner_lab.runners.spec import RunnerSpec

Say = Callable[[str], None]
_REST_LIMIT_S = 60.0
"""For the server after a cell that failed; on one that others use as well it never comes to rest."""


class Session:
    """A run: planned in `__init__`, started by `start`, fed cell by cell, closed by `close`.

    What it is called, in its folder's name and its command, are `label` and `program`.

    Its environment is set from the first moment: to plan it may take the import of a user's runner, and so of Prefect.

    Raises:
        UsageError, ArmError, ConfigError, RecordError: the options make no run.
    """

    program = "pytest"

    def __init__(self, options: Options, say: Say = lambda line: None) -> None:
        self._options = options
        self._say = say
        self._stack = ExitStack()
        self._stages: Stages | None = None
        self._folder: RunFolder | None = None
        self.progress = Progress((), BASELINE)
        check(options)
        self._scratch = new_scratch()
        self._stack.callback(shutil.rmtree, self._scratch, ignore_errors=True)
        self._port = free_port()
        api_url = options.api_url or f"http://127.0.0.1:{self._port}/api"
        self._stack.enter_context(isolated(lab_environment(self._scratch / "home", api_url)))
        try:
            self._plan(options)
        except BaseException:
            self.release()
            raise

    def _plan(self, options: Options) -> None:
        earlier = RunFolder.resume(options.resume) if options.resume else None
        if options.out:
            RunFolder.refuse_taken(options.out)
        self.profile: Profile = self._profile(earlier)
        self.catalog: Catalog = catalogs.load(options.config or catalogs.default_config())
        self.workers = earlier.plan.workers if earlier else options.workers or max(2, environment.cores())
        self.blocks = blocks(options, earlier.plan.blocks if earlier else self.profile.blocks)
        names = earlier.plan.arms if earlier else self._names()
        self.arms: list[RunnerSpec] = self.catalog.select(names, self.workers)
        self._earlier = earlier
        self._positions: dict[tuple[str, int], int] = {}

    def _profile(self, earlier: RunFolder | None) -> Profile:
        return options.profile(self._options, earlier.plan.profile if earlier else None)

    @property
    def label(self) -> str:
        return self.profile.name

    def _names(self) -> list[str]:
        return names(self._options.runners, self.profile)

    @property
    def folder(self) -> RunFolder:
        """The run's, from `start` on."""
        assert self._folder is not None
        return self._folder

    @property
    def path(self) -> Path | None:
        """The folder's, None before `start`."""
        return self._folder.path if self._folder else None

    @property
    def records(self) -> Sequence[Record]:
        """What is measured so far, with what the run had that is resumed; nothing before `start`."""
        return [*self._folder.records.values()] if self._folder else []

    def cells(self, suite: Suite) -> list[Cell]:
        """All cells of one suite, unordered."""
        blocks = min(self.blocks, self.profile.first_blocks.get(suite.name, self.blocks))
        make = Search if suite.search else Wide if suite.wide else Cell
        return [
            make(suite.name, graph, arm, block, self._stage(arm), suite.cold)
            for graph in self.profile.graphs(suite.name)
            for base in self.arms
            if suite.takes(base) and applies(graph, base, suite.cold, bool(self._attached(base)))
            for arm in (self._sizes(base) if suite.resized else (base,))
            for block in range(blocks)
        ]

    def order(self, cells: Iterable[Cell]) -> list[Cell]:
        """The cells in the order of the run; on a resumed run, those it had selected."""
        selected = set(self._earlier.plan.cells) if self._earlier else set()
        # By arm, since not every suite has all of them: which one comes first is the profile's to say.
        place = {arm.name: i for i, arm in enumerate(self.arms)}
        by_arm = sorted(cells, key=lambda cell: place[family(cell.arm.name)])
        ordered = order(cell for cell in by_arm if not selected or cell.id in selected)
        counts: dict[int, int] = {}
        for cell in ordered:
            self._positions[cell.key] = counts.setdefault(cell.block, 0)
            counts[cell.block] += 1
        self.progress = Progress(ordered, BASELINE)
        return ordered

    def start(self) -> None:
        """Make the run's folder, start the server, see that every arm can start.

        Raises:
            ArmError, ServerError, RecordError: before anything is measured.
        """
        scratch = self._stack.enter_context(guarded(self._scratch))
        self._interrupts = self._stack.enter_context(Interrupts())
        for arm in self.arms:
            self.catalog.check(arm)
            if (address := self._attached(arm)) and not self._options.api_url:
                refuse_another_host(arm.name, address)
        given = bool(self._options.workers or self._earlier)
        for warning in check_slots(self.arms, self.catalog, self.workers, given, scratch):
            self._say(f"warning: {warning}")
        self._server = self._start_server(scratch / "home")
        self._folder = self._earlier or RunFolder.create(*self._new_folder())
        cells = tuple(dict.fromkeys(cell for cell, _ in self._positions))
        self.folder.save(planned_cells=self.progress.total, blocks=self.blocks, cells=cells)
        for warning in self.folder.warnings:
            self._say(f"warning: {warning}")
        self._environment = environment.describe(self._server, self.profile.name)
        limits = Limits(cell_s=self._cell_timeout_s)
        self._stages = Stages(self.catalog, self._server, scratch, limits, self._warm_up, self._say)
        direct = self.catalog.arms["sequential"]
        try:
            with self._stages.ready(Cell("startup", GraphSpec(width=1), direct, 0, "first")):
                # The warm-up that comes with it is the first flow of this process, which pays for imports and caches.
                pass
        except Exception as error:
            raise ServerError(f"a first flow failed on {self._server.api_url}: {measure.one_line(error)}") from error
        self._stages.close()

    def left_out(self, cell: Cell) -> str | None:
        """Why `cell` is not to be measured, in words; then it is none of the run any more."""
        if not isinstance(cell, Wide) or cell.key in self.folder.records:
            return None
        reason = forecast.too_long(cell, self.folder.records.values(), self._cell_timeout_s)
        if reason is not None:
            self.progress.left_out(cell)
            left_out = {**self.folder.plan.left_out, cell.id: reason}
            self.folder.save(planned_cells=self.progress.total, left_out=left_out)
        return reason

    def measure(self, cell: Cell) -> Record:
        """The record of `cell`: measured now, and on disk, or that of the run that is resumed."""
        self._interrupts.raise_lost()
        record = self.folder.records.get(cell.key)
        if record is None:
            assert self._stages is not None
            blank = measure.blank_record(cell, self.folder.plan.run_id, self._environment)
            record = self._record(cell, self._stages, blank)
            self.folder.add(record)
            if record.status == "error":
                self._come_to_rest(self._stages)
        self.progress.done(record)
        return record

    def search(self, planned: Search) -> list[Record]:
        """The records of the cells of a search, each as `measure` gives it, all in the search's place in the block."""

        def found(cell: Cell) -> Record:
            self._positions[cell.key] = self._positions[planned.key]
            return self.measure(cell)

        records = durations(planned, self.folder.records.values(), found, self.blocks)
        self.progress.searched(planned, records)
        self.folder.save(planned_cells=self.progress.total)
        return records

    def _record(self, cell: Cell, stages: Stages, blank: Record) -> Record:
        return measure.measure(cell, self._positions[cell.key], stages.ready, blank)

    def _come_to_rest(self, stages: Stages) -> None:
        """Leave nothing of a cell that failed to the next: tasks may still run in its cluster, or be on their way."""
        stages.close()
        # Of a server that does not answer the next cell will tell.
        with suppress(UnansweredError):
            quiescence.wait_still(self._server.api_url, _REST_LIMIT_S)

    def _warm_up(self, cell: Cell, site: Site) -> None:
        small_pass(cell, site)

    def close(self, interrupted: bool) -> None:
        """Stop everything; what was measured stays."""
        try:
            if self._stages is not None:
                self._stages.close()
                quiescence.send_rest()
        finally:
            try:
                self.release()
            finally:
                if self._stages is not None:
                    self.folder.finish(interrupted or self.progress.left > 0)

    def release(self) -> None:
        """Server, guard and environment; a second call does no harm."""
        self._stack.close()

    def _stage(self, arm: RunnerSpec) -> str:
        if not (arm.bare or self.catalog.engine(arm).shares(arm)):
            return arm.name
        return arm.engine if arm.workers == self.workers else f"{arm.engine}@{arm.workers}"

    def _attached(self, arm: RunnerSpec) -> str | None:
        return self.catalog.engine(arm).attached(arm, self.catalog.settings(arm))

    def _sizes(self, arm: RunnerSpec) -> list[RunnerSpec]:
        """The arm under 1, 2, 4, ... workers, up to the cores and once beyond, and under the run's own number.

        Nothing where the number is not the lab's to set.
        """
        if not self.catalog.engine(arm).resizable(arm, self.catalog.settings(arm)):
            return []
        powers = [2**i for i in range(20) if 2**i <= 2 * environment.cores()]
        return [arm if n == arm.workers else arm.sized(n) for n in sorted({arm.workers, *powers})]

    @property
    def _cell_timeout_s(self) -> float:
        given = self._options.cell_timeout_s
        return self.profile.cell_timeout_s if given is None else given

    def _start_server(self, home: Path) -> Server:
        if self._options.api_url:
            return existing_server(self._options.api_url)
        said = 0.0

        def waiting(waited_s: float) -> None:
            nonlocal said
            if waited_s - said >= 5:
                said = waited_s
                self._say(f"starting the lab's Prefect server, {waited_s:.0f} s so far (13 s is usual)")

        self._say("starting the lab's Prefect server")
        return self._stack.enter_context(
            lab_server(
                home,
                self._options.database_url,
                self._port,
                waiting,
                settings=server_settings(self._options.server_settings),
                counted=self.profile.counted,
            )
        )

    def _new_folder(self) -> tuple[Path, Plan]:
        out = self._options.out
        results = Path("results")
        existing = [path.name for path in results.iterdir()] if results.is_dir() else []
        run_id = out.resolve().name if out else new_run_id(self.label, existing)
        plan = Plan(
            run_id=run_id,
            profile=self.profile.name,
            arms=tuple(arm.name for arm in self.arms),
            blocks=self.blocks,
            workers=self.workers,
            baseline=BASELINE,
            command=without_password(shlex.join([self.program, *sys.argv[1:]])),
            started_at=now(),
        )
        return out or results / run_id, plan
