"""The experiments of a command, each under every arm that it means something for, each bounded in time.

An experiment that hangs, or that ends the process it is made in, is a finding like any other, and the rest goes on.
Findings are written anew after each one, so that Ctrl-C loses none; what is measured again replaces its finding.
Several commands may write to one folder at a time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner_lab.benchmarks.experiments.frame.experiment import Experiment, SetUp
from runner_lab.benchmarks.experiments.frame.process import ExperimentEnd, ExperimentProcess
from runner_lab.benchmarks.experiments.frame.suite import ExperimentSuite
from runner_lab.benchmarks.measuring import environment
from runner_lab.benchmarks.session.interrupts import Interrupts
from runner_lab.benchmarks.session.options import separated
from runner_lab.benchmarks.session.run_folder import new_folder, now
from runner_lab.benchmarks.session.stages import Say
from runner_lab.records import findings as findings_file
from runner_lab.records.findings import ExperimentInfo, Finding, Findings, Judgement
from runner_lab.reports.words.units import seconds as shown
from runner_lab.runners import catalog
from runner_lab.runners.isolation.guard import guarded
from runner_lab.runners.spec import RunnerSpec

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]


class AskedError(ValueError):
    """What the user can mend; one line."""


def run(
    suite: ExperimentSuite,
    only: str | None = None,
    runners: str | None = None,
    out: Path | None = None,
    say: Say = lambda line: None,
    tell: Say = lambda line: None,
    settings: Mapping[str, Any] | None = None,
) -> Path:
    """Make the experiments, and write their findings as `<suite>.json`.

    Args:
        only: ids or groups of experiments, with commas; all by default.
        runners: arms, with commas; all of the suite's by default.
        out: folder for the findings, which may hold a run or earlier findings; `results/<time>-<suite>` by default.
        say: told what is going on, and what is left.
        tell: told of each finding.
        settings: for the experiments; JSON-able.

    Returns:
        The folder.

    Raises:
        AskedError: no such experiment or arm, or the folder cannot be written to.
        RecordError: what the folder holds cannot be gone on with.
        ServerError: the lab's Prefect server does not start.
        ValueError: what the suite needs is not to be had on this machine.
    """
    experiments = _chosen_experiments(suite, only)
    arms = _chosen_arms(suite, runners, experiments, say)
    folder = out or new_folder(suite.name)
    file = folder / findings_file.file_name(suite.name)
    earlier = findings_file.read(file) if file.exists() else None
    suite.check()
    with ExitStack() as stack:
        stack.enter_context(_made(folder))
        scratch = stack.enter_context(guarded())
        interrupts = stack.enter_context(Interrupts())
        surroundings = stack.enter_context(suite.surroundings(scratch, say))
        found = _findings(suite, environment.describe(surroundings.server, suite.name), earlier, folder)
        told = {**surroundings.settings, **(settings or {})}
        measured = _measured(experiments, arms, scratch, folder / f"{suite.name}.log", say, told)
        # Closed before the server is: what an interrupt leaves up still talks to it.
        for finding in stack.enter_context(closing(measured)):
            with _turn(folder):
                found = _with_others(found, file).with_finding(finding)
                findings_file.write(folder, found)
            title = next(experiment.title for experiment in experiments if experiment.id == finding.experiment)
            tell(f"{finding.arm}: {title}: {finding.symbol}, {finding.words} ({shown(finding.seconds)})")
            interrupts.raise_lost()
        with _turn(folder):
            findings_file.write(folder, _with_others(found, file).finished(now()))
    return folder


def _measured(
    experiments: Sequence[Experiment],
    arms: Sequence[RunnerSpec],
    scratch: Path,
    log: Path,
    say: Say,
    settings: Mapping[str, Any],
) -> Generator[Finding, None, None]:
    """A process for each set-up, which makes all experiments that share it."""
    shared: dict[tuple[SetUp, str], list[tuple[Experiment, RunnerSpec]]] = {}
    for arm in arms:
        for experiment in experiments:
            if experiment.means_something_for(arm):
                key = experiment.set_up, experiment.set_up.shared_by(arm)
                shared.setdefault(key, []).append((experiment, arm))
    planned = sum(map(len, shared.values()))
    done, begun_s = 0, time.monotonic()
    for (_, name), pairs in shared.items():
        process = ExperimentProcess(name, scratch, log, settings)
        try:
            for experiment, arm in pairs:
                left = f"{planned - done} to go"
                if done:
                    left += f", about {shown((time.monotonic() - begun_s) / done * (planned - done))}"
                say(f"{arm.name}: {experiment.title}; {left}")
                yield finding(experiment, arm, process.measure(experiment, arm))
                done += 1
        finally:
            process.close()


def finding(experiment: Experiment, arm: RunnerSpec, outcome: ExperimentEnd) -> Finding:
    """What the file holds of one experiment under one arm."""
    judged = _judged(experiment, arm, outcome)
    return Finding(
        experiment=experiment.id,
        arm=arm.name,
        symbol=judged.symbol,
        words=judged.words,
        remedy=judged.remedy,
        facts=dict(outcome.facts),
        seconds=outcome.seconds,
        end=outcome.end,
        error=outcome.error,
    )


_LOG = "Look into the log beside the findings."


def _judged(experiment: Experiment, arm: RunnerSpec, outcome: ExperimentEnd) -> Judgement:
    if outcome.end == "not set up":
        return Judgement(
            "unknown", f"could not be set up: {outcome.error}", "Let the machine come to rest, and try again."
        )
    if outcome.end == "failed":
        return Judgement("unknown", f"the experiment failed: {outcome.error}", _LOG)
    if outcome.end == "hangs":
        stopped = f"hangs after {outcome.seconds:.0f} s"
        if experiment.hangs is None:
            return Judgement("bad", stopped, "Give every wait a timeout, and the flow a timeout_seconds.")
        judged = experiment.hangs(outcome.facts)
        return Judgement(judged.symbol, f"{stopped}: {judged.words}", judged.remedy)
    if outcome.end == "dies":
        return Judgement(
            "bad", f"ends the flow's process ({outcome.error})", "Run such flows in a process that is started again."
        )
    try:
        return experiment.judge(arm, outcome.facts)
    except KeyError as error:
        return Judgement("unknown", f"the experiment noted no {error}", _LOG)


def _chosen_experiments(suite: ExperimentSuite, only: str | None) -> list[Experiment]:
    every = suite.experiments()
    known = dict.fromkeys([*(one.id for one in every), *(one.group for one in every)])
    asked = set(_chosen("--only", only, list(known)))
    return [experiment for experiment in every if {experiment.id, experiment.group} & asked]


def _chosen_arms(
    suite: ExperimentSuite, runners: str | None, experiments: Sequence[Experiment], say: Say
) -> list[RunnerSpec]:
    """The arms that are named; by default all whose engine is installed, and `say` is told of the others.

    Raises:
        AskedError: there is no such arm.
        ArmError: the engine of one that is named, or of all that the experiments are for, is not installed.
    """
    every = {arm.name: arm for arm in suite.arms()}
    arms = [every[name] for name in _chosen("--runners", runners, list(every))]
    known = catalog.load()
    there = [arm for arm in arms if not known.missing(arm)]
    wanted = [arm for arm in arms if any(experiment.means_something_for(arm) for experiment in experiments)]
    if runners is not None or not any(arm in there for arm in wanted):
        known.refuse_missing(wanted if runners is None else arms)
    for line in dict.fromkeys(lacking for arm in wanted if (lacking := known.missing(arm))):
        left_out = [arm.name for arm in wanted if known.missing(arm) == line]
        say(f"warning: {line}; left out: {', '.join(left_out)}")
    return there


def _chosen(option: str, asked: str | None, known: Sequence[str]) -> list[str]:
    """The names that were asked for, with commas; all by default.

    Raises:
        AskedError: none, or one that is not known.
    """
    if asked is None:
        return list(known)
    names = separated(asked)
    if not names or set(names) - set(known):
        wrong = next((name for name in names if name not in known), asked)
        raise AskedError(f"{option} {wrong}: there are {', '.join(known)}")
    return names


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """The folder is there, and is removed in the end where nothing was put into it.

    Raises:
        AskedError: it cannot be made.
    """
    new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AskedError(f"--out {folder} cannot be made: {error.strerror}") from None
    try:
        yield
    finally:
        if new:
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """No other command writes to the file meanwhile; on Windows, where the system has no such lock, one may."""
    if fcntl is None:
        yield
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)


def _with_others(found: Findings, file: Path) -> Findings:
    """With what another command has found meanwhile."""
    return replace(found, findings=findings_file.read(file).findings) if file.exists() else found


def _findings(suite: ExperimentSuite, described: dict[str, Any], earlier: Findings | None, folder: Path) -> Findings:
    """What the file holds before the first finding of this run.

    Raises:
        AskedError: what is there was measured with other versions.
    """
    arms = suite.arms()
    experiments = tuple(
        ExperimentInfo(
            id=experiment.id,
            group=experiment.group,
            title=experiment.title,
            code=experiment.code,
            arms=tuple(arm.name for arm in arms if experiment.means_something_for(arm)),
            about=dict(experiment.about),
        )
        for experiment in suite.experiments()
    )
    if earlier and earlier.environment.get("versions") != described["versions"]:
        raise AskedError(f"--out {folder}: its findings are of other versions; name another folder")
    return Findings(
        name=suite.name,
        title=suite.title,
        started_at=earlier.started_at if earlier else now(),
        finished_at=None,
        environment=described,
        experiments=experiments,
        arms=tuple(arm.name for arm in arms),
        findings=earlier.findings if earlier else (),
    )
