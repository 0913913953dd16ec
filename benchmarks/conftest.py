"""The lab as a pytest plugin: options in, cells as tests, records and a report out."""

from __future__ import annotations

import argparse
import math
import shlex
import time
from collections.abc import Generator
from pathlib import Path
from typing import NoReturn

import pytest

from runner_lab.benchmarks.session import rows
from runner_lab.benchmarks.session.plan import PlannedCell
from runner_lab.benchmarks.session.session import Options, Session
from runner_lab.benchmarks.session.workload import LabGraphs
from runner_lab.records.record import Record, RecordError
from runner_lab.runners.catalog import ConfigError
from runner_lab.runners.server import ServerError
from runner_lab.runners.spec import ArmError

_LAB = pytest.StashKey[Session]()
_REPORT = pytest.StashKey[list[str]]()
_PLAIN_EVERY_S = 10.0
"""Where there is no terminal a line is printed so often."""
_USER_ERRORS = (ArmError, ConfigError, RecordError, ServerError, ValueError, OSError)


def pytest_addoption(parser: pytest.Parser) -> None:
    lab = parser.getgroup("lab", "Runner Lab: which Prefect task runner, and at what cost")
    lab.addoption(
        "--lab-profile",
        metavar="NAME",
        help="how much: smoke, quick (default), choice, full, lean, scale or pieces",
    )
    lab.addoption("--lab-runners", metavar="A,B", help="arms to measure, by name; `runner-lab runners` lists them")
    lab.addoption("--lab-blocks", type=int, metavar="N", help="passes over all cells, those of a resumed run included")
    lab.addoption("--workers", type=int, metavar="N", help="worker slots of each arm (default: the cores, at least 2)")
    lab.addoption("--lab-out", type=Path, metavar="DIR", help="the run's folder (default: results/TIME-PROFILE)")
    lab.addoption("--lab-resume", type=Path, metavar="DIR", help="resume a run; raise --lab-blocks to add repeats")
    lab.addoption("--lab-config", type=Path, metavar="FILE", help="arms and clusters (default: ./runners.toml)")
    lab.addoption("--lab-api-url", metavar="URL", help="use this Prefect server instead of starting one")
    lab.addoption(
        "--lab-api-latency",
        metavar="TIME",
        help="put Prefect's API this round trip away, as users have it: 80ms or 0.08",
    )
    lab.addoption("--lab-database-url", metavar="URL", help="the lab's server uses this database instead of SQLite")
    lab.addoption(
        "--lab-server-setting",
        action="append",
        default=[],
        metavar="PREFECT_NAME=VALUE",
        help="a setting of the lab's own server; may be given several times",
    )
    lab.addoption("--lab-cell-timeout", type=float, metavar="S", help="seconds one pass may take (300; scale: 1200)")
    lab.addoption("--lab-draws", type=int, metavar="N", help="pieces of work to draw, to test the answers (regret)")
    lab.addoption("--lab-seed", type=int, default=0, metavar="N", help="seed of the draw (0)")
    lab.addoption("--lab-draws-latency", metavar="TIME", help="put Prefect's API this round trip away from drawn work")
    # What the user typed where it was not pytest: `runner-lab run`.
    lab.addoption("--lab-command", help=argparse.SUPPRESS)


def pytest_configure(config: pytest.Config) -> None:
    option = config.option
    # One line a cell is for who asks for it: the report has them all.
    option.benchmark_quiet = option.benchmark_quiet or not (option.verbose > 0 or option.benchmark_columns)
    option.benchmark_columns = option.benchmark_columns or ["min", "median", "max", "stddev", "rounds"]
    if option.showcapture == "all":
        # A cell that fails says why in its one line; what Prefect, Dask and Ray logged meanwhile is shown on demand.
        option.showcapture = "no"
    options = Options(
        profile=option.lab_profile,
        runners=option.lab_runners,
        blocks=option.lab_blocks,
        workers=option.workers,
        out=option.lab_out,
        resume=option.lab_resume,
        config=option.lab_config,
        api_url=option.lab_api_url,
        database_url=option.lab_database_url,
        cell_timeout_s=option.lab_cell_timeout,
        server_settings=tuple(option.lab_server_setting),
        draws=None if option.lab_draws is None else (option.lab_draws, option.lab_seed),
        api_latency=option.lab_api_latency,
        draws_latency=option.lab_draws_latency,
        command=option.lab_command,
    )
    try:
        config.stash[_LAB] = Session(LabGraphs(), options, say=lambda line: _say(config, line))
    except _USER_ERRORS as error:
        _refuse(config, error)
    config.add_cleanup(config.stash[_LAB].release)
    config.pluginmanager.register(_ProgressLine(config), "lab-progress")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "cell" in metafunc.fixturenames:
        cells = metafunc.config.stash[_LAB].cells(metafunc.module.SUITE)
        metafunc.parametrize("cell", cells, ids=[rows.test_id(cell) for cell in cells])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # pytest makes one test without a cell of a suite that has none in this profile: it is no test.
    items[:] = [item for item in items if not hasattr(item, "callspec") or _cell(item) is not None]
    by_id = {cell.id: item for item in items if (cell := _cell(item)) is not None}
    others = [item for item in items if _cell(item) is None]
    cells = config.stash[_LAB].order(cell for item in items if (cell := _cell(item)) is not None)
    items[:] = [*others, *(by_id.pop(cell.id) for cell in cells)]
    if by_id:
        config.hook.pytest_deselected(items=list(by_id.values()))


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.option.collectonly or not any(_cell(item) for item in session.items):
        return
    if reporter := _reporter(session.config):
        # The progress line says more than a file name a test.
        reporter.showfspath = False
    try:
        session.config.stash[_LAB].start()
    except _USER_ERRORS as error:
        _refuse(session.config, error)


@pytest.fixture
def measured(request: pytest.FixtureRequest, benchmark):
    """Measure a cell, or those of a search, and fail its test with the reason when its figures mean nothing."""
    lab = request.config.stash[_LAB]

    def measure_cell(cell: PlannedCell) -> None:
        try:
            measure_kept(cell)
        except OSError as error:
            # What an arm does wrong is in its record: this is the run's folder, which keeps no more of them.
            pytest.exit(_unwritten(lab, error), returncode=2)

    def measure_kept(cell: PlannedCell) -> None:
        if reason := lab.left_out(cell):
            pytest.skip(f"{cell.label}, block {cell.block}: not measured: {reason}")
        # One round a block, whose time is that of the record: what stands around the makespan (a cluster's start,
        # the server's quiet) is no part of it. `rows.merge` makes R rounds of R blocks.
        records: list[Record] = benchmark.pedantic(lab.measure, args=(cell,))
        benchmark.extra_info["cells"] = [record.cell for record in records]
        for record in records:
            if record.status != "ok":
                pytest.fail(f"{record.cell}, block {record.block}: {record.error}", pytrace=False)

    return measure_cell


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """No dot for a cell, and no letter for one that is left out: the progress line says more."""
    if report.when == "call" and not report.failed and "benchmarks/bench_" in report.nodeid:
        return report.outcome, "", ""
    return None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int):
    config = session.config
    lab = config.stash.get(_LAB, None)
    if lab is None:
        return (yield)
    unwritten: OSError | None = None
    unstopped: Exception | None = None
    result = None
    try:
        _finish(lab, config, interrupted=exitstatus == pytest.ExitCode.INTERRUPTED)
    except OSError as error:
        unwritten = error
    except Exception as error:
        unstopped = error
    try:
        result = yield
    except OSError as error:
        unwritten = error
    if unwritten is not None:
        _say(config, _unwritten(lab, unwritten))
        session.exitstatus = 2
    if unstopped is not None:
        raise unstopped
    return result


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.get(_REPORT, [])
    if lines:
        terminalreporter.section("Runner Lab")
        for line in lines:
            terminalreporter.write_line(line)


def _refuse(config: pytest.Config, error: Exception) -> NoReturn:
    """End what makes no run, with exit code 2.

    Raises:
        pytest.UsageError: for `runner-lab run`, which prints the line itself; its options have no `lab-` before them.
        pytest.exit.Exception: for pytest.
    """
    if config.option.lab_command is None:
        pytest.exit(str(error), returncode=2)
    raise pytest.UsageError(str(error).replace("--lab-", "--")) from error


def _finish(lab: Session, config: pytest.Config, interrupted: bool) -> None:
    """
    Raises:
        OSError: the run's folder cannot be written to.
    """
    try:
        lab.close(interrupted)
    finally:
        # Whatever did not stop: what was measured is on disk, and the report of it is made and shown.
        if lab.records:
            benchmark_session = config._benchmarksession  # type: ignore[attr-defined]
            benchmark_session.benchmarks[:] = rows.merge(benchmark_session.benchmarks, lab.records)
            config.stash[_REPORT] = _render(lab)
            benchmark_session.json = benchmark_session.json or str(lab.folder.path / "benchmark.json")


def _render(lab: Session) -> list[str]:
    from runner_lab.reports import render

    try:
        rendered = render(lab.folder.path)
    except RecordError as error:
        return [f"no report: {error}"]
    by_lab = lab.options.command is not None
    resume = "runner-lab run --resume" if by_lab else "pytest benchmarks --benchmark-only --lab-resume"
    option = "--" if by_lab else "--lab-"
    given = {"config": lab.options.config, "api-url": lab.options.api_url}
    more = [f"{option}{name} {shlex.quote(str(value))}" for name, value in given.items() if value]
    again = f"interrupted; resume with: {' '.join([resume, shlex.quote(str(lab.folder.path)), *more])}"
    return [*rendered.screen, *([again] if lab.folder.plan.interrupted else [])]


def _unwritten(lab: Session, error: OSError) -> str:
    where = f" in {lab.path}" if lab.path else ""
    return f"the run{where} cannot be kept: {error}"


def _cell(item: pytest.Item) -> PlannedCell | None:
    callspec = getattr(item, "callspec", None)
    cell = callspec.params.get("cell") if callspec else None
    return cell if isinstance(cell, PlannedCell) else None


def _reporter(config: pytest.Config) -> pytest.TerminalReporter | None:
    return config.pluginmanager.get_plugin("terminalreporter")


def _say(config: pytest.Config, line: str) -> None:
    if reporter := _reporter(config):
        reporter.ensure_newline()
        reporter.write_line(line)


class _ProgressLine:
    """Prints the progress line before each cell, since within one the output is captured.

    On a terminal in place of the last one; elsewhere a line of its own every ten seconds.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._printed_s = -math.inf

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        cell = _cell(item)
        if cell is not None:
            self._show(cell.label)
        return (yield)

    def pytest_sessionfinish(self) -> None:
        if self._printed_s > -math.inf:
            self._printed_s = -math.inf
            self._show(None)

    def _show(self, now: str | None) -> None:
        reporter = _reporter(self._config)
        plain = reporter is not None and not reporter.isatty
        if reporter is None or (plain and time.monotonic() - self._printed_s < _PLAIN_EVERY_S):
            return
        self._printed_s = time.monotonic()
        line = self._config.stash[_LAB].progress.line(now)
        if plain:
            reporter.ensure_newline()
            reporter.write_line(line)
        else:
            reporter.rewrite(line[: reporter._tw.fullwidth - 1], erase=True)
