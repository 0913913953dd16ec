"""How does each runner behave? The experiments of a suite, under every arm, each bounded in time.

An experiment that hangs, or that ends the process it is made in, is a finding like any other, and the rest goes on.
Findings are written anew after each one, so that Ctrl-C loses none; what is measured again replaces its finding.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from runner_lab.benchmarks.experiments.arm_process import ArmProcess, Outcome
from runner_lab.benchmarks.experiments.experiment import WORKERS, Experiment, Judgement, Suite
from runner_lab.benchmarks.experiments.findings_file import AskedError, chosen, folder_for, make, write
from runner_lab.benchmarks.measuring import environment
from runner_lab.benchmarks.session.interrupts import Interrupts
from runner_lab.benchmarks.session.run_folder import now
from runner_lab.reports.findings import behaviour as findings
from runner_lab.reports.words.units import seconds as shown
from runner_lab.runners import catalog
from runner_lab.runners.isolation.environment import environment as lab_environment
from runner_lab.runners.isolation.environment import free_port, isolated
from runner_lab.runners.isolation.guard import guarded
from runner_lab.runners.server import lab_server
from runner_lab.runners.spec import RunnerSpec

Say = Callable[[str], None]


def run(
    suite: Suite,
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
        runners: arms, with commas; all of Prefect's and the lean ones by default.
        out: folder for the findings, which may hold a run or earlier findings; `results/<time>-<suite>` by default.
        say: told what is going on, and what is left.
        tell: told of each finding.
        settings: for the experiments; JSON-able.

    Returns:
        The folder.

    Raises:
        AskedError: no such experiment or arm, or the folder cannot be written to.
        ServerError: the lab's Prefect server does not start.
    """
    experiments, arms = _experiments(suite, only), chosen("--runners", runners, suite.arms)
    folder = folder_for(suite.name, out)
    make(folder)
    earlier = _earlier(suite, folder)
    with ExitStack() as stack:
        scratch = stack.enter_context(guarded())
        port = free_port()
        variables = lab_environment(scratch / "home", f"http://127.0.0.1:{port}/api")
        stack.enter_context(isolated(variables))
        interrupts = stack.enter_context(Interrupts())
        say("starting the lab's Prefect server")
        server = stack.enter_context(lab_server(scratch / "home", port=port))
        report = _report(suite, environment.describe(server, suite.name), earlier, folder)
        log = folder / f"{suite.name}.log"
        # Closed before the server is: what an interrupt leaves up still talks to it.
        found = stack.enter_context(closing(_findings(suite, experiments, arms, scratch, log, say, settings or {})))
        for one in found:
            _replace(report, one)
            write(folder / findings.file_name(suite.name), report)
            tell(f"{one['arm']}: {one['title']}: {one['symbol']}, {one['words']} ({shown(one['seconds'])})")
            interrupts.raise_lost()
        report["finished_at"] = now()
        write(folder / findings.file_name(suite.name), report)
    return folder


def _findings(
    suite: Suite,
    experiments: Sequence[Experiment],
    arms: Sequence[str],
    scratch: Path,
    log: Path,
    say: Say,
    settings: Mapping[str, Any],
) -> Generator[dict[str, Any], None, None]:
    specs = catalog.load().select(arms, WORKERS)
    planned = [(spec, experiment) for spec in specs for experiment in experiments if spec.engine in experiment.engines]
    begun_s = time.monotonic()
    for place, spec in enumerate(specs):
        process = ArmProcess(suite, spec.name, scratch, log, settings)
        try:
            for number, (planned_spec, experiment) in enumerate(planned):
                if planned_spec is not spec:
                    continue
                left = f"{len(planned) - number} to go"
                if number:
                    left += f", about {shown((time.monotonic() - begun_s) / number * (len(planned) - number))}"
                say(f"{spec.name} ({place + 1}/{len(specs)}): {experiment.title}; {left}")
                yield finding(experiment, spec, process.measure(experiment))
        finally:
            process.close()


def finding(experiment: Experiment, arm: RunnerSpec, outcome: Outcome) -> dict[str, Any]:
    """What the JSON file holds of one experiment under one arm."""
    judged = _judged(experiment, arm, outcome)
    return {
        "experiment": experiment.id,
        "group": experiment.group,
        "title": experiment.title,
        "arm": arm.name,
        "symbol": judged.symbol,
        "words": judged.words,
        "remedy": judged.remedy,
        "details": dict(outcome.facts),
        "code": experiment.code,
        "seconds": outcome.seconds,
        "end": outcome.end,
        "error": outcome.error,
    }


def _judged(experiment: Experiment, arm: RunnerSpec, outcome: Outcome) -> Judgement:
    if outcome.end == "failed":
        return Judgement("unknown", f"the experiment failed: {outcome.error}", "Look into the log beside the findings.")
    if outcome.end == "hangs":
        stopped = f"hangs after {outcome.seconds:.0f} s"
        if experiment.hangs is None:
            return Judgement("bad", stopped, "Give every wait a timeout, and the flow a timeout_seconds.")
        judged = experiment.hangs(outcome.facts)
        return Judgement(judged.symbol, f"{stopped}: {judged.words}", judged.remedy)
    if outcome.end == "dies":
        return experiment.dies or Judgement(
            "bad", f"ends the flow's process ({outcome.error})", "Run such flows in a process that is started again."
        )
    try:
        return experiment.judge(arm, outcome.facts)
    except KeyError as error:
        return Judgement("unknown", f"the experiment noted no {error}", "Look into the log beside the findings.")


def _experiments(suite: Suite, only: str | None) -> list[Experiment]:
    ids, groups = zip(*((experiment.id, experiment.group) for experiment in suite.experiments), strict=True)
    asked = set(chosen("--only", only, [*ids, *dict.fromkeys(groups)]))
    return [experiment for experiment in suite.experiments if {experiment.id, experiment.group} & asked]


def _earlier(suite: Suite, folder: Path) -> dict[str, Any] | None:
    """What is in the folder already, to go on with."""
    path = folder / findings.file_name(suite.name)
    if not path.exists():
        return None
    findings.read(path)
    return json.loads(path.read_bytes())


def _report(suite: Suite, described: dict[str, Any], earlier: dict[str, Any] | None, folder: Path) -> dict[str, Any]:
    """
    Raises:
        AskedError: what is there was measured with other versions.
    """
    report = {
        "schema": findings.SCHEMA,
        "name": suite.name,
        "title": suite.title,
        "started_at": now(),
        "finished_at": None,
        "environment": described,
        "experiments": [_described(suite, experiment) for experiment in suite.experiments],
        "arms": list(suite.arms),
        "findings": [],
    }
    if earlier is None:
        return report
    if earlier["environment"].get("versions") != described["versions"]:
        raise AskedError(f"--out {folder}: its findings are of other versions; name another folder")
    return {**report, "started_at": earlier["started_at"], "findings": earlier["findings"]}


def _described(suite: Suite, experiment: Experiment) -> dict[str, Any]:
    engines = {arm: catalog.load().arms[arm].engine for arm in suite.arms}
    return {
        "id": experiment.id,
        "group": experiment.group,
        "title": experiment.title,
        "code": experiment.code,
        "arms": [arm for arm in suite.arms if engines[arm] in experiment.engines],
    }


def _replace(report: dict[str, Any], found: dict[str, Any]) -> None:
    order, arms = [experiment["id"] for experiment in report["experiments"]], report["arms"]
    key = (found["experiment"], found["arm"])
    known = [one for one in report["findings"] if one["experiment"] in order and one["arm"] in arms]
    kept = [one for one in known if (one["experiment"], one["arm"]) != key]
    report["findings"] = sorted(
        [*kept, found], key=lambda one: (order.index(one["experiment"]), arms.index(one["arm"]))
    )
