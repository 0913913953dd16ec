"""The command `compare`: a flow of the user's under each runner."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.progress import BarColumn, Progress, TextColumn

from runner_lab.lab.console import Config, LabError, end, one_line
from runner_lab.lab.report import report
from runner_lab.lab.starting import started


def compare(
    flow: Annotated[str, Parameter(help="FILE.py:FLOW, or FILE.py where the file has one flow.")],
    *,
    runners: Annotated[
        str | None,
        Parameter(help="Runners beside yours, such as lean-dask,threads@32; threads,processes,dask,ray by default."),
    ] = None,
    param: Annotated[
        list[str] | None, Parameter(negative="", help="NAME=VALUE, a JSON value or text; once for each parameter.")
    ] = None,
    blocks: Annotated[int | None, Parameter(help="Measurements of each runner; 5 by default.")] = None,
    workers: Annotated[
        int | None, Parameter(help="Worker slots of each runner but yours; by default as many as suit it.")
    ] = None,
    check_result: Annotated[
        bool, Parameter(help="Require the same result under all runners; not for impure flows.")
    ] = True,
    cell_timeout: Annotated[float, Parameter(help="Seconds after which a run of the flow is stopped.")] = 300.0,
    out: Annotated[Path | None, Parameter(help="The run's folder; results/TIME-compare-FLOW by default.")] = None,
    resume: Annotated[Path | None, Parameter(help="Resume a comparison; raise --blocks to add repeats.")] = None,
    config: Config = None,
    api_url: Annotated[str | None, Parameter(help="Use this Prefect server instead of starting one.")] = None,
    api_latency: Annotated[str | None, Parameter(help="Put Prefect's API this round trip away, such as 80ms.")] = None,
    database_url: Annotated[str | None, Parameter(help="Database of the lab's own server; SQLite by default.")] = None,
) -> None:
    """Run your flow, unchanged, under each runner: which to use, and what it saves.

    All runners are compared with the flow's own (yours), which is measured a second time as the noise check. Each has a
    process of its own, which first runs the flow once unmeasured, to warm up. Results are compared, and task runs are
    counted by final state.

    Exit code 0: success. 1: the flow failed or returned another result under some runner; the others are measured. 2:
    nothing to measure. 130: Ctrl-C; the report has what was measured.

    Example: runner-lab compare my_flow.py:my_flow --runners threads,dask,lean-dask --param n=100 --blocks 5
    """
    from runner_lab.benchmarks.compare.compare import FlowRequest
    from runner_lab.benchmarks.session.options import Options

    options = Options(
        runners=runners,
        blocks=blocks,
        workers=workers,
        out=out,
        resume=resume,
        config=config,
        api_url=api_url,
        database_url=database_url,
        cell_timeout_s=cell_timeout,
        api_latency=api_latency,
    )
    try:
        interrupted, failed, folder = measured(FlowRequest(flow, param or (), check_result), options)
    except (ValueError, RuntimeError) as error:
        # The same options are `--lab-...` to pytest, where others have names of their own.
        raise LabError(one_line(error).replace("--lab-", "--")) from error
    report(folder)
    if interrupted or failed:
        end(130 if interrupted else 1)


def measured(asked: Any, options: Any) -> tuple[bool, int, Path]:
    """Measure, with a progress line; whether it was interrupted, how many cells failed, and the run's folder."""
    from runner_lab.benchmarks.compare.compare import UserFlow, run

    with started(lambda: UserFlow(asked), options) as (flow, session, cells, terminal, status):
        status.stop()
        failed = 0
        columns = BarColumn(bar_width=20), TextColumn("{task.description}", markup=False)
        # What a flow prints is not for the terminal.
        with Progress(*columns, console=terminal, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
            task = bar.add_task(f"{len(cells)} cells", total=len(cells))

            def done(record: Any) -> None:
                nonlocal failed
                failed += record.status != "ok"
                bar.update(task, advance=1, description=session.progress.line())
                took = f"{record.value_s:.3g} s" if record.status == "ok" else record.error
                line = f"block {record.block}  {record.arm}  {took}"
                if not terminal.is_terminal:
                    line = f"{line}  ({session.progress.line()})"
                terminal.print(line, markup=False, soft_wrap=True)

            interrupted = run(session, flow, cells, done)
    if interrupted and not session.folder.records:
        raise KeyboardInterrupt
    return interrupted, failed, session.folder.path
