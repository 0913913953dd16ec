"""The command line: `runner-lab`. Each command is one call into a package."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column, Table
from rich.text import Text

app = App(
    name="runner-lab",
    help="Which Prefect task runner should I use, and what will it cost me?\n\n"
    "Measure with: pytest benchmarks --benchmark-only; a flow of yours with: runner-lab compare my_flow.py:my_flow",
    version_flags=["--version"],
)
_out = Console()
_err = Console(stderr=True, highlight=False)

Config = Annotated[Path | None, Parameter(help="Arms and clusters; ./runners.toml by default.")]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON instead of a table.")]


class LabError(ValueError):
    """What the user can mend; one line."""


@app.command
def report(run: Annotated[Path, Parameter(help="A run's folder, such as results/20260101-120000-quick.")]) -> None:
    """Render a run again: report.html, report.md, charts, summary.json.

    Example: runner-lab report results/20260101-120000-quick
    """
    from reports import render

    rendered = render(run)
    for line in rendered.verdict:
        _out.print(line, markup=False, highlight=False)
    for warning in rendered.warnings:
        _err.print(f"warning: {warning}", markup=False)
    _out.print(f"report: {rendered.html}", markup=False, soft_wrap=True)


@app.command
def compare(
    flow: Annotated[str, Parameter(help="FILE.py:FLOW, or FILE.py where the file has one flow.")],
    *,
    runners: Annotated[
        str | None, Parameter(help="Arms, such as threads,dask,lean-dask; threads,processes,dask,ray by default.")
    ] = None,
    param: Annotated[
        list[str] | None, Parameter(negative="", help="NAME=VALUE, a JSON value or text; once for each parameter.")
    ] = None,
    blocks: Annotated[int | None, Parameter(help="Measurements of each arm; 5 by default.")] = None,
    workers: Annotated[int | None, Parameter(help="Worker slots; the machine's cores, at least 2, by default.")] = None,
    check_result: Annotated[
        bool, Parameter(help="Whether all arms must return the same; not for impure flows.")
    ] = True,
    cell_timeout: Annotated[float, Parameter(help="Seconds that one run of the flow may take.")] = 300.0,
    out: Annotated[Path | None, Parameter(help="The run's folder; results/TIME-compare-FLOW by default.")] = None,
    resume: Annotated[Path | None, Parameter(help="Go on with a comparison that was interrupted.")] = None,
    config: Config = None,
    api_url: Annotated[str | None, Parameter(help="Use this Prefect server instead of starting one.")] = None,
    database_url: Annotated[str | None, Parameter(help="Of the lab's own server, instead of SQLite.")] = None,
) -> None:
    """Run a flow of yours, unchanged, under each task runner, and say which to use for it.

    Arms take turns in blocks, beside threads a second time (the control), which tells noise from difference. Each
    cluster runs the flow once unmeasured, to be warm: a flow runs about twice as often as there are measurements.
    Results are compared; task runs are counted by final state.

    Exit code 0: all went well. 1: the flow failed, or returned another result, under some arm; the others are measured
    all the same. 2: nothing to measure. 130: Ctrl-C, and a report of what was measured.

    Example: runner-lab compare my_flow.py:my_flow --runners threads,dask,lean-dask --param n=100 --blocks 5
    """
    from benchmarks.compare import Asked
    from benchmarks.session import Options

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
    )
    try:
        interrupted, failed, folder = _compare(Asked(flow, param or (), check_result), options)
    except (ValueError, RuntimeError) as error:
        # The same options are `--lab-...` to pytest, where others have names of their own.
        raise LabError(_one_line(error).replace("--lab-", "--")) from error
    report(folder)
    if interrupted or failed:
        _end(130 if interrupted else 1)


def _compare(asked: Any, options: Any) -> tuple[bool, int, Path]:
    """Measure, with a progress line; whether it was interrupted, how many cells failed, and the run's folder."""
    from benchmarks.compare import Comparison

    # A terminal of its own: what flows and workers write to the standard streams goes to a file meanwhile.
    with open(os.dup(2), "w", encoding="utf-8") as stream:
        terminal = Console(file=stream, highlight=False)
        with terminal.status("importing Prefect and the flow") as status:
            comparison = Comparison(asked, options, say=status.update)
            try:
                cells = comparison.plan()
                for line in comparison.notes():
                    terminal.print(line, markup=False, soft_wrap=True)
                comparison.start()
            except BaseException:
                comparison.release()
                raise
        failed = 0
        columns = BarColumn(bar_width=20), TextColumn("{task.description}", markup=False)
        # What a flow prints is not for the terminal.
        with Progress(*columns, console=terminal, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
            task = bar.add_task(f"{len(cells)} cells", total=len(cells))

            def done(record: Any) -> None:
                nonlocal failed
                failed += record.status != "ok"
                bar.update(task, advance=1, description=comparison.progress.line())
                took = f"{record.value_s:.3g} s" if record.status == "ok" else record.error
                line = f"block {record.block}  {record.arm}  {took}"
                if not terminal.is_terminal:
                    line = f"{line}  ({comparison.progress.line()})"
                terminal.print(line, markup=False, soft_wrap=True)

            interrupted = comparison.run(cells, done)
    if interrupted and not comparison.folder.records:
        raise KeyboardInterrupt
    return interrupted, failed, comparison.folder.path


@app.command
def choose(
    *,
    tasks: Annotated[str, Parameter(help="How many, such as 2000.")],
    task_seconds: Annotated[str | None, Parameter(help="One task's own work, such as 0.3 or 300ms.")] = None,
    work: Annotated[str, Parameter(help="sleep (waits), spin (CPU, holds the GIL), crunch (CPU, no GIL) or none.")] = (
        "sleep"
    ),
    payload: Annotated[str, Parameter(help="What each task hands on: 200kB, 1.5MB.")] = "0",
    workers: Annotated[str | None, Parameter(help="Worker slots; as many as were measured by default.")] = None,
    startup: Annotated[str, Parameter(help="warm, or cold to count the start of the cluster or pool.")] = "warm",
    run: Annotated[
        Path | None, Parameter(name="--from", help="The run to answer from; the newest under results/ by default.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Rank the runners for your work: time, CPU and memory, why, and when the answer would change.

    Example: runner-lab choose --tasks 2000 --task-seconds 0.3 --work sleep --payload 200kB
    """
    from reports import answer, asking, choice, terminal
    from reports.summary import summarise

    asked = asking.request(tasks, task_seconds, work, payload, workers, startup)
    found = choice.choose(summarise(asking.find_run(run)), asked)
    if as_json:
        _out.print_json(answer.to_json(found))
    else:
        terminal.show(found, _out)


@app.command
def diff(
    a: Annotated[Path, Parameter(help="A run's folder, or a JSON of pytest-benchmark.")],
    b: Annotated[Path, Parameter(help="The run to hold against it.")],
    *,
    fail_on: Annotated[str | None, Parameter(help="`slower`: exit 1 if a cell is slower beyond the noise.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two runs cell by cell, beyond the noise of both.

    Example: runner-lab diff results/before results/after --fail-on slower
    """
    from reports import difference, terminal, timings

    if fail_on not in (None, "slower"):
        raise LabError(f"--fail-on {fail_on}: must be slower")
    found = difference.difference(timings.read(a), timings.read(b))
    if not found.cells:
        raise LabError(f"{a} and {b} have no cell in common")
    if as_json:
        _out.print_json(difference.to_json(found))
    else:
        terminal.show_difference(found, _out)
    if fail_on and found.of("slower"):
        _end(1)


@app.command
def runners(
    *,
    workers: Annotated[int | None, Parameter(help="Worker slots; the machine's cores, at least 2, by default.")] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List the arms: name, class, options, where each would run, and whether it can start here.

    Example: runner-lab runners --config my-runners.toml
    """
    from benchmarks.environment import cores
    from runners import isolation

    if workers is not None and workers < 1:
        raise LabError(f"--workers {workers}: at least 1 is needed")
    with (
        tempfile.TemporaryDirectory(prefix="rlab-") as home,
        isolation.isolated(isolation.environment(Path(home))),
        _err.status("importing Prefect, Dask and Ray to see which arms can start"),
    ):
        rows = _arms(workers or max(2, cores()), config)
    if as_json:
        _out.print_json(json.dumps(rows))
        return
    table = Table(
        "arm", Column("what it is, where it runs, its class", overflow="fold"), "starts here", box=SIMPLE_HEAD
    )
    for row in rows:
        options = ", ".join(f"{key}={value!r}" for key, value in row["options"].items())
        declared = f"{row['class']}({options})" if row["class"] else ""
        what = "\n".join(line for line in (f"{row['summary']}; in {row['where']}", declared) if line)
        table.add_row(Text(row["arm"]), Text(what), Text(row["error"] or "yes"))
    _out.print(table)


@app.command
def demo() -> None:
    """Take the tutorial's tour: flows, a deployment, its worker and schedule; about two minutes, nothing is left.

    Example: runner-lab demo
    """
    from demo import demo as tour

    tour(_out)


def _arms(workers: int, config: Path | None) -> list[dict[str, Any]]:
    from runners import catalog
    from runners.spec import ArmError

    found = catalog.load(config or catalog.default_config())
    rows = []
    for arm in found.select(found.arms, workers):
        try:
            found.check(arm)
            error = None
        except ArmError as refused:
            error = str(refused)
        rows.append(
            {
                "arm": arm.name,
                "engine": arm.engine,
                "class": arm.class_path,
                "options": dict(arm.options),
                "workers": arm.workers,
                "summary": arm.summary,
                "where": found.engine(arm).where(arm, found.settings(arm)),
                "error": error,
            }
        )
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. What the user can mend is one line and exit code 2; `--debug` shows where it was raised."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except KeyboardInterrupt:
        _end(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (CycloptsError, ValueError, OSError) as error:
        if debug:
            raise
        _err.print(f"runner-lab: {_one_line(error)}", markup=False, soft_wrap=True)
        _end(2)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _end(code: int) -> None:
    raise SystemExit(code)


if __name__ == "__main__":
    main()
