"""The lab on a schedule: a flow that measures a profile, and says what changed since its last runs."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

from prefect import flow, task
from rich.console import Console

from runner_lab.benchmarks.session.run_folder import new_folder, share_done
from runner_lab.lab import artifacts
from runner_lab.reports.analysis import summary
from runner_lab.reports.analysis.summary import Summary
from runner_lab.reports.history import difference, history, timings, trend
from runner_lab.reports.history.history import Kept
from runner_lab.reports.history.trend import Slower
from runner_lab.reports.pages import terminal
from runner_lab.reports.words import units, verdict
from runner_lab.runners.isolation.guard import guarded
from runner_lab.runners.isolation.supervised import module

RESULTS = "results/nightly"
NAMED = 8
"""Cells that the message of a slowdown names; the log has them all."""


class RunError(RuntimeError):
    """A run that failed; the message is one line with its last output."""


class SlowdownError(RuntimeError):
    """Cells that are slower in two runs in a row; the message is one line that names them."""


@flow(name="nightly-comparison", log_prints=True)
def nightly_comparison(profile: str = "quick", results: str = RESULTS, report_base: str | None = None) -> list[str]:
    """Measure, render, compare with the runs before, publish.

    Args:
        profile: of the lab.
        results: the folder of these runs, apart from those made by hand; relative to the working folder.
        report_base: URL under which that folder can be opened, if it can: the link to the report is made of it.

    Returns:
        The cells that are slower than in the run before, beyond the noise of both runs.

    Raises:
        RunError: a cell or the whole run failed.
        SlowdownError: cells are slower beyond noise in this run and were in the run before.
    """
    run = measure(profile, new_folder(profile, Path(results)))
    found = summary.summarise(run)
    runs = keep(run, found)
    slow = trend.slowdown([one.timings for one in runs])
    if len(runs) > 1:
        log_difference(runs[-2], runs[-1])
    else:
        print(f"{run} is the first run of its series: nothing to compare it with")
    news = [_told("Slower than in the run before", slow.first), _told("Slower in two runs in a row", slow.lasting)]
    report_url = f"{report_base.rstrip('/')}/{run.name}/report.html" if report_base else None
    report = report_url or f"{run.absolute()}/report.html"
    artifacts.create(found, report, report_url, [line for line in news if line])
    if slow.lasting:
        raise SlowdownError(f"{_told(f'slower in two runs in a row than in {slow.since}', slow.lasting, NAMED)}")
    return [cell.cell for cell in slow.first]


@task(log_prints=True)
def measure(profile: str, out: Path) -> Path:
    """Run the benchmarks, which end by rendering their report, log what they say and show how far they are.

    In a process of its own: the lab starts a server of its own and sets its environment before Prefect is imported.
    What a cancelled flow run leaves of it is ended by a guard.

    Raises:
        RunError: the exit code is not 0.
    """
    last = ""
    progress = artifacts.ProgressArtifact(f"runner-lab-progress-{profile}", f"Cells measured by {out.name}.")
    with (
        guarded(),
        subprocess.Popen(
            command(profile, out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip():
                last = line.strip()
                print(last)
                progress.at(share_done(out))
    if process.returncode:
        raise RunError(f"the run in {out} ended with exit code {process.returncode}: {last or 'no output'}")
    progress.at(1.0)
    return out


def command(profile: str, out: Path) -> list[str]:
    """What measures."""
    return module("runner_lab", "run", "--profile", profile, "--out", str(out.absolute()))


def keep(run: Path, found: Summary) -> list[Kept]:
    """See that the run is in the history, and return its series, itself the last.

    Raises:
        RecordError: the history cannot be used: without it nothing would ever be slower.
    """
    path = history.keep(run, found, timings.read(run), verdict.of(found)[0])
    folder = run.absolute().relative_to(path.parent).as_posix()
    runs = history.read(path)
    return trend.series(runs, next(one for one in runs if one.folder == folder))


def log_difference(before: Kept, run: Kept) -> None:
    """Log what `runner-lab diff` would show."""
    said = StringIO()
    found = difference.difference(before.timings, run.timings)
    terminal.show_difference(found, Console(file=said, width=120))
    print(said.getvalue().rstrip())


def _told(title: str, cells: Sequence[Slower], most: int | None = None) -> str:
    """The cells with their ratios, or nothing."""
    if not cells:
        return ""
    named = [f"{units.printable(cell.cell, 80)} {units.times(cell.ratios[-1])}" for cell in cells]
    shown = named if most is None or len(named) <= most else [*named[:most], f"{len(named) - most} more"]
    return f"{title}: {units.plural(len(cells), 'cell')}, {', '.join(shown)}"


if __name__ == "__main__":
    nightly_comparison()
