"""The command `advise`: a flow of the user's profiled once, and its time under every runner."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from runner_lab.lab.console import ERR, OUT, AsJson, Config, LabError, end, one_line
from runner_lab.lab.starting import run_child, started

CALIBRATE = "calibrate"
"""The profile of the lab's graphs that is measured where no run can answer."""


def advise(
    flow: Annotated[str, Parameter(help="FILE.py:FLOW, or FILE.py where the file has one flow.")],
    *,
    param: Annotated[
        list[str] | None, Parameter(negative="", help="NAME=VALUE, a JSON value or text; once for each parameter.")
    ] = None,
    target: Annotated[
        str | None, Parameter(help="The machines you ask about, such as cores=16 or cores=16,hosts=4; by default this.")
    ] = None,
    startup: Annotated[
        Literal["warm", "cold"], Parameter(help="cold counts the start of the runner's pool or cluster; warm does not.")
    ] = "cold",
    verify: Annotated[bool, Parameter(negative="", help="Measure the named runner beside the flow's own.")] = False,
    blocks: Annotated[int, Parameter(help="With --verify: measurements of each.")] = 3,
    once: Annotated[bool, Parameter(negative="", help="Run the flow once only.")] = False,
    run: Annotated[
        Path | None,
        Parameter(name="--from", help="The run with the runners' costs; the newest in results/ by default."),
    ] = None,
    cell_timeout: Annotated[float, Parameter(help="Seconds after which a run of the flow is stopped.")] = 600.0,
    out: Annotated[Path | None, Parameter(help="The folder; results/TIME-advise-FLOW by default.")] = None,
    config: Config = None,
    api_url: Annotated[str | None, Parameter(help="Use this Prefect server instead of starting one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run a flow of yours once, as it is, and say why it takes its time, and which runner and slots to take.

    Every task run is timed from within: waiting, computing, the share of it under the GIL, bytes handed over. The flow
    is then replayed under each runner with the costs that a run of the lab has measured on this machine; where there is
    no run, a calibration of about three minutes comes first. Where its tasks hinder each other in one process, the flow
    runs once or twice more, under fewer threads. Nothing of yours is changed.

    Exit code 0: all went well. 2: the flow cannot be profiled, with the reason. 130: Ctrl-C.

    Example: runner-lab advise my_flow.py:my_flow --param n=100 --verify
    """
    from runner_lab.benchmarks.measuring import environment
    from runner_lab.benchmarks.session.options import Options
    from runner_lab.records.flow_profile import ADVICE_PAGE
    from runner_lab.reports.advise import advice as advices
    from runner_lab.reports.advise.prediction import CannotAdviseError, predict
    from runner_lab.reports.analysis.summary import summarise

    asked = _target(target, startup)
    if verify and target:
        raise LabError("--verify measures on this machine: leave --target out")
    model = _model(run)
    # Values of parameters may be secret: what is written has their names alone.
    command = " ".join(["runner-lab advise", flow, *(f"--param {text.partition('=')[0]}=..." for text in param or ())])
    options = Options(
        out=out,
        config=config,
        api_url=api_url,
        cell_timeout_s=cell_timeout,
        blocks=1,
        command=command,
        # Of a second pass, until it is known how many it is to have. The flow's own runner stays as it is.
        workers=environment.cores(),
    )
    summary = summarise(model)
    try:
        profile, folder, catalog = _profile(flow, param or (), options, once)
        prediction = predict(summary, profile, asked)
    except CannotAdviseError as error:
        raise LabError(one_line(error)) from error
    if unknown := _unknown(summary, catalog):
        listed = ", ".join(unknown)
        ERR.print(
            f"warning: run {summary.run.run_id} has no costs of {listed}, which cannot be named: measure them with "
            "runner-lab run",
            markup=False,
            soft_wrap=True,
        )
    specs = {one.arm: _spec(catalog, one.arm, one.slots) for one in prediction.ranked}
    code = {arm: catalog.engine(spec).in_code(spec) for arm, spec in specs.items() if spec is not None}
    imports = {arm: spec.import_line for arm, spec in specs.items() if spec is not None}
    told = advices.advise(summary, prediction, code, imports)
    # What the verification finds comes on top: it may be stopped.
    _keep(folder, told)
    stopped = False
    if verify and not (prediction.named.has_slots and any(profile.submitted)):
        ERR.print("nothing to verify: the advice is to use no runner", markup=False)
    elif verify:
        told, stopped = _verified(told, flow, param or (), options, folder / "verify", blocks)
        _keep(folder, told)
    if as_json:
        OUT.print_json(advices.to_json(told))
    else:
        for line in advices.words(told):
            OUT.print(line, markup=False, highlight=False, soft_wrap=True)
        OUT.print(f"page: {folder / ADVICE_PAGE}", markup=False, soft_wrap=True)
    if stopped:
        end(130)


def _target(text: str | None, startup: str) -> Any:
    """
    Raises:
        LabError: words that are no target.
    """
    from runner_lab.reports.advise.prediction import Target

    values: dict[str, int] = {}
    for part in text.split(",") if text else ():
        name, equals, value = part.partition("=")
        if name not in ("cores", "hosts") or not equals or not value.isdigit() or not 1 <= int(value) <= 10_000:
            raise LabError(f"--target {text}: must be like cores=16 or cores=16,hosts=4")
        values[name] = int(value)
    return Target(cores=values.get("cores"), hosts=values.get("hosts", 1), cold=startup == "cold")


def _model(run: Path | None) -> Path:
    """The run with the runners' costs: the one that is named, the newest that can answer, or a calibration."""
    from runner_lab.records import record
    from runner_lab.records.run_plan import RESULTS
    from runner_lab.reports.choose import asking
    from runner_lab.runners.isolation.supervised import module

    folder = RESULTS / "calibration"
    begun = (folder / record.FILE_NAME).exists() and not _is_whole(folder)
    try:
        found = asking.find_run(run)
        if run is not None or found != folder or not begun:
            return found
    except ValueError:
        if run is not None:
            raise
    ERR.print(f"no run of the lab in {RESULTS}/: calibrating this machine, about three minutes, into {folder}")
    where = ("--resume", str(folder)) if begun else ("--profile", CALIBRATE, "--out", str(folder))
    code, told = run_child(module("runner_lab", "run", *where), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if code == 130:
        end(130)
    if code not in (0, 1):
        last = (told.strip().splitlines() or ["no reason given"])[-1]
        raise LabError(f"the calibration did not end well: {last}")
    return asking.find_run(folder)


def _is_whole(run: Path) -> bool:
    from runner_lab.records import run_plan
    from runner_lab.records.validation import RecordError

    try:
        plan = run_plan.read(run)
    except (OSError, RecordError):
        return False
    return plan.finished_at is not None and not plan.interrupted


def _profile(target: str, parameters: Any, options: Any, once: bool) -> Any:
    """The profile, the run's folder, and the catalog of arms."""
    from runner_lab.benchmarks.advise.profiling import ProfiledFlow, ProfileError, profile
    from runner_lab.benchmarks.advise.reading import NoProfileError
    from runner_lab.benchmarks.compare.compare import FlowRequest

    asked = FlowRequest(target, parameters, check_result=False, values_shown=False)
    try:
        with started(lambda: ProfiledFlow(asked, once), options, notes=False) as (flow, session, cells, _, status):
            status.update("running the flow once, as it is")
            found = profile(session, flow, cells)
    except (ProfileError, NoProfileError) as error:
        raise LabError(one_line(error)) from error
    except (ValueError, RuntimeError) as error:
        raise LabError(one_line(error).replace("--lab-", "--")) from error
    return found, session.folder.path, session.catalog


def _unknown(summary: Any, catalog: Any) -> list[str]:
    """Runners of Prefect's and lean ones that are installed, and that the run has no costs of."""
    from runner_lab.runners.catalog import LEAN, STOCK

    installed, _ = catalog.default((STOCK, LEAN))
    known = {found.arm.name for found in summary.model.arms}
    return [name for name in installed if name not in known]


def _spec(catalog: Any, arm: str, slots: int) -> Any:
    """The arm with so many slots; None where no runner is declared for it, or this catalog does not know it."""
    spec = catalog.arms.get(arm)
    if spec is None or not spec.class_path:
        return None
    return spec.with_workers(slots)


def _verified(told: Any, target: str, parameters: Any, options: Any, folder: Path, blocks: int) -> tuple[Any, bool]:
    """The advice with what the named runner and the flow's own were measured to take, and whether Ctrl-C ended that."""
    from dataclasses import replace

    from runner_lab.benchmarks.compare.compare import FlowRequest
    from runner_lab.records.record import FILE_NAME, YOURS
    from runner_lab.reports.advise.advice import Verified

    named, yours = told.prediction.named, told.prediction.yours
    asked = replace(options, runners=named.arm, workers=named.slots if named.has_slots else None, blocks=blocks)
    request = FlowRequest(target, parameters, True, values_shown=False)
    command = [sys.executable, "-P", "-c", "from runner_lab.lab.advise import verify_request; verify_request()"]
    asked = replace(asked, out=folder)
    code, _ = run_child(command, pickle.dumps((request, asked, sys.path)))
    if not (folder / FILE_NAME).exists():
        if code != 130:
            ERR.print("the named runner could not be measured: the advice is an estimate", markup=False)
        return told, code == 130
    times = _medians(folder)
    rows = [Verified(named.arm, named.slots, times[named.arm], named.warm_s)] if named.arm in times else []
    if YOURS in times and yours is not None:
        rows.append(Verified(YOURS, told.prediction.profile.slots, times[YOURS], yours.warm_s))
    return replace(told, verified=tuple(rows)), code == 130


def verify_request() -> None:
    """Measure what standard input asks for, pickled: a `FlowRequest`, the options and the path of modules."""
    from runner_lab.lab.compare import measured

    request, options, sys.path[:] = pickle.load(sys.stdin.buffer)
    try:
        interrupted, failed, _ = measured(request, options)
    except (ValueError, RuntimeError) as error:
        ERR.print(f"runner-lab: {one_line(error).replace('--lab-', '--')}", markup=False)
        end(2)
    end(130 if interrupted else int(failed > 0))


def _medians(folder: Path) -> dict[str, float]:
    from statistics import median

    from runner_lab.records import record as records

    times: dict[str, list[float]] = {}
    for one in records.read(folder)[0]:
        if one.status == "ok" and one.value_s is not None:
            times.setdefault(one.arm, []).append(one.value_s)
    return {arm: median(values) for arm, values in times.items()}


def _keep(folder: Path, told: Any) -> None:
    from runner_lab.records import json_file
    from runner_lab.records.flow_profile import ADVICE, ADVICE_PAGE
    from runner_lab.reports.advise import advice
    from runner_lab.reports.pages import advise_page

    json_file.write(folder / ADVICE, advice.data(told))
    (folder / ADVICE_PAGE).write_text(advise_page.html(told), encoding="utf-8")
