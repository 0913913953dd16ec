"""The command `regret`: how often the answers of a run are right, measured."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from runner_lab.lab.console import OUT, AsJson, LabError, end


def regret(
    *,
    run: Annotated[
        Path | None, Parameter(name="--from", help="The run to test; the newest in results/ by default.")
    ] = None,
    draws: Annotated[int, Parameter(help="Number of pieces of work to draw.")] = 10,
    seed: Annotated[int, Parameter(help="Seed of the draw; another one draws other work.")] = 0,
    api_latency: Annotated[
        str | None, Parameter(help="Put Prefect's API this round trip away from that work, such as 80ms.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Test a run's answers on work it has not seen: what a wrong answer costs.

    Regret is the measured time under the named runner, over that under the best one: 1.00 is right, 1.20 costs 20 %.
    Runners predicted to take more than twice the best time are not measured. The measurements go into the run's folder
    and its report, and do not change its answers. Each piece of work takes about a minute.

    Example: runner-lab regret --draws 10 --seed 1
    """
    from runner_lab.lab import pytest_session
    from runner_lab.reports.analysis.summary import summarise
    from runner_lab.reports.choose import asking
    from runner_lab.reports.choose import regret as regrets
    from runner_lab.reports.pages import terminal

    folder = asking.find_run(run)
    options = [f"--lab-resume={folder}", f"--lab-draws={draws}", f"--lab-seed={seed}", "-k=bench_regret", "-q"]
    if api_latency is not None:
        options.append(f"--lab-draws-latency={api_latency}")
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        code = pytest_session.measure(options)
    if code in (2, 130):
        end(code)
    found = regrets.regret(summarise(folder))
    if found is None:
        raise LabError(f"{folder}: no drawn work could be measured; see its report")
    if as_json:
        OUT.print_json(regrets.to_json(found))
    else:
        terminal.show_regret(found, OUT)
    if code:
        end(code)
