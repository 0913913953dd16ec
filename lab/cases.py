"""The command `cases`: the real flows of flows/cases under every runner."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from runner_lab.lab.console import ERR, OUT, AsJson, Config, LabError, end
from runner_lab.lab.starting import run_child
from runner_lab.records.cases import CasesPlan, MeasuredCases
from runner_lab.records.flow_profile import ADVICE

RUNNERS = "threads,processes,dask,ray,lean-threads,lean-processes,lean-dask,lean-ray"
BLOCKS = 3
CELL_TIMEOUT_S = 900.0


def cases(
    *names: Annotated[str, Parameter(help="Flows, such as csv_etl; all by default.")],
    runners: Annotated[str | None, Parameter(help=f"Runners, such as dask,lean-dask; {RUNNERS} by default.")] = None,
    blocks: Annotated[int | None, Parameter(help=f"Measurements under each runner; {BLOCKS} by default.")] = None,
    workers: Annotated[
        int | None, Parameter(help="Worker slots of each runner; by default as many as suit it.")
    ] = None,
    param: Annotated[
        list[str] | None, Parameter(negative="", help="FLOW.NAME=VALUE, such as csv_etl.files=80; once for each.")
    ] = None,
    cell_timeout: Annotated[
        float | None, Parameter(help=f"Seconds after which a run of a flow is stopped; {CELL_TIMEOUT_S:g} by default.")
    ] = None,
    out: Annotated[Path | None, Parameter(help="Folder of the runs; results/TIME-cases by default.")] = None,
    resume: Annotated[Path | None, Parameter(help="Resume in a folder; raise --blocks to add repeats.")] = None,
    advise: Annotated[
        bool, Parameter(help="Profile each flow once, and show what `advise` predicts beside it.")
    ] = True,
    run: Annotated[
        Path | None, Parameter(name="--from", help="The run to predict from; the newest by default.")
    ] = None,
    page: Annotated[Path | None, Parameter(help="Put the table into this Markdown file, between its markers.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Measure the lab's real flows under every runner, one after another, as `compare` does.

    Each flow has a run of its own in the folder. The table at the end has the time of each flow under each runner, the
    best runner, and whether all returned the same. All flows under all runners take hours. Ctrl-C keeps what was
    measured, and --resume goes on.

    Exit code 0: success. 1: a flow failed or returned another result under some runner; the others are measured. 2:
    nothing to measure. 130: Ctrl-C; the table has what was measured.

    Example: runner-lab cases csv_etl text_features --runners threads,processes --blocks 2
    """
    from runner_lab.flows.cases import catalog
    from runner_lab.records import cases as cases_file
    from runner_lab.reports.analysis.cases import measured
    from runner_lab.reports.pages import cases_table, terminal

    if resume is not None:
        if names or runners or param or workers or out or cell_timeout is not None:
            raise LabError("--resume keeps the run's options; only --blocks may change")
        folder, plan = resume, cases_file.read(resume).plan
        plan = plan.model_copy(update={"blocks": max(plan.blocks, blocks or 0)})
    else:
        plan = _plan(names, runners, blocks, workers, param, cell_timeout)
        folder = _folder(out)
    _refuse_missing(plan.cases)
    if page is not None and not page.is_file():
        raise LabError(f"--page {page}: there is no such file")

    does = {name: case.does for name, case in catalog.CASES.items()}
    folder.mkdir(parents=True, exist_ok=True)
    cases_file.write(folder, measured(folder, plan, does))
    codes: list[int] = []
    interrupted = False
    for number, name in enumerate(plan.cases, start=1):
        target = catalog.CASES[name].target
        fresh = not _is_done(folder / name, plan.blocks)
        if fresh:
            ERR.print(f"flow {number} of {len(plan.cases)}: {name}", markup=False, style="bold")
            code = run_child(_command(plan, name, target, folder / name, plan.runners, config))[0]
            if code == 2 and not codes and not (folder / name / "records.jsonl").exists():
                # `compare` has said what is wrong, in one line.
                end(2)
            codes.append(code)
        if advise and 130 not in codes:
            if fresh or not (folder / name / ADVICE).exists():
                codes.append(_advise(plan, name, target, folder, run, config))
            codes += _named(plan, name, target, folder, measured(folder, plan, does), config)
        cases_file.write(folder, measured(folder, plan, does))
        interrupted = 130 in codes
        if interrupted:
            break

    found = measured(folder, plan, does)
    written = cases_table.write(folder, found, page)
    if as_json:
        OUT.print_json(found.model_dump_json())
    else:
        terminal.show_table(cases_table.table(found), OUT)
        OUT.print(f"table: {written[1]}", markup=False, soft_wrap=True)
        if interrupted:
            more = f" --config {shlex.quote(str(config))}" if config else ""
            OUT.print(
                f"resume with: runner-lab cases --resume {shlex.quote(str(folder))}{more}", markup=False, soft_wrap=True
            )
    if interrupted or any(codes):
        end(130 if interrupted else 1)


def _plan(
    names: Sequence[str],
    runners: str | None,
    blocks: int | None,
    workers: int | None,
    param: Sequence[str] | None,
    cell_timeout: float | None,
) -> CasesPlan:
    from runner_lab.flows.cases.catalog import CASES

    for name in names:
        if name not in CASES:
            raise LabError(f"{name}: no such flow; there are {', '.join(CASES)}")
    for option, value in (("--blocks", blocks), ("--workers", workers)):
        if value is not None and value < 1:
            raise LabError(f"{option} {value}: at least 1 is needed")
    chosen = tuple(dict.fromkeys(names)) or tuple(CASES)
    parameters: dict[str, list[str]] = {}
    for text in param or ():
        name, dot, setting = text.partition(".")
        if not dot or "=" not in setting or "=" in name:
            raise LabError(f"--param {text}: must be FLOW.NAME=VALUE, such as csv_etl.files=80")
        if name not in chosen:
            raise LabError(f"--param {text}: {name} is not measured; these are: {', '.join(chosen)}")
        parameters.setdefault(name, []).append(setting)
    return CasesPlan(
        cases=chosen,
        runners=runners or RUNNERS,
        blocks=blocks or BLOCKS,
        workers=workers,
        cell_timeout_s=cell_timeout or CELL_TIMEOUT_S,
        parameters={name: tuple(values) for name, values in parameters.items()},
    )


def _folder(out: Path | None) -> Path:
    from runner_lab.benchmarks.session.run_folder import new_folder
    from runner_lab.records.cases import FILE_NAME

    if out is None:
        return new_folder("cases")
    if (out / FILE_NAME).exists():
        raise LabError(f"{out} holds measured cases already: give --resume {out}, or name another --out")
    return out


def _refuse_missing(names: Sequence[str]) -> None:
    """
    Raises:
        LabError: a library that one of these needs is not installed.
    """
    from runner_lab.flows.cases.catalog import missing

    if needing := missing(names):
        library, needed_by = next(iter(needing.items()))
        verb = "needs" if len(needed_by) == 1 else "need"
        raise LabError(
            f"{', '.join(needed_by)} {verb} {library}, which is not installed: pip install 'runner-lab[cases]'"
        )


def _is_done(run: Path, blocks: int) -> bool:
    """Whether every cell was measured, and went well."""
    from runner_lab.records import record, run_plan

    if not (run / run_plan.FILE_NAME).exists():
        return False
    plan = run_plan.read(run)
    if plan.finished_at is None or plan.interrupted or plan.blocks < blocks:
        return False
    records, _ = record.read(run)
    return len({one.id for one in records if one.status == "ok"}) >= plan.planned_cells


def _command(plan: CasesPlan, name: str, target: str, run: Path, runners: str, config: Path | None) -> list[str]:
    """What measures one flow."""
    from runner_lab.records import run_plan
    from runner_lab.runners.isolation.supervised import module

    words = module("runner_lab", "compare", target, f"--blocks={plan.blocks}")
    words += [f"--cell-timeout={plan.cell_timeout_s:g}"]
    words += [f"--param={value}" for value in plan.parameters.get(name, ())]
    words += [f"--config={config}"] if config else []
    if (run / run_plan.FILE_NAME).exists():
        return [*words, f"--resume={run}"]
    words += [f"--workers={plan.workers}"] if plan.workers else []
    return [*words, f"--runners={runners}", f"--out={run}"]


def _advise(plan: CasesPlan, name: str, target: str, folder: Path, run: Path | None, config: Path | None) -> int:
    """Profile a flow, whose inputs are there by now, and put what is predicted into its folder; the exit code.

    Each flow is measured on workers that are up, and predicted so.
    """
    from shutil import copyfile, rmtree

    from runner_lab.runners.isolation.supervised import module

    ERR.print(f"profiling {name}", markup=False)
    profiled = folder / f"{name}-advise"
    rmtree(profiled, ignore_errors=True)
    words = module("runner_lab", "advise", target, "--startup=warm", f"--out={profiled}")
    words += [f"--cell-timeout={plan.cell_timeout_s:g}"]
    words += [f"--param={value}" for value in plan.parameters.get(name, ())]
    words += [f"--from={run}"] if run else []
    words += [f"--config={config}"] if config else []
    code, _ = run_child(words)
    if code == 0:
        copyfile(profiled / ADVICE, folder / name / ADVICE)
    return code


def _named(
    plan: CasesPlan, name: str, target: str, folder: Path, so_far: MeasuredCases, config: Path | None
) -> list[int]:
    """Measure the runner that was recommended beside the best one, if it had other slots before; the exit codes.

    Both in one run: regret compares what was measured side by side.
    """
    from runner_lab.reports.analysis.cases import beside

    case = next(case for case in so_far.cases if case.case == name)
    run = beside(folder, name)
    predicted = case.predicted
    if predicted is None or case.of(predicted.named.arm) is None or case.measured_as_named:
        return []
    if case.best is None or (run.exists() and _is_done(run, plan.blocks)):
        return []
    ERR.print(f"measuring {predicted.named.resized} beside {case.best}", markup=False)
    return [run_child(_command(plan, name, target, run, f"{predicted.named.resized},{case.best}", config))[0]]
