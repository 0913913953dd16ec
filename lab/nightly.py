"""The lab on a schedule: a flow that measures a profile, and says what changed since its last run."""

from __future__ import annotations

import subprocess
import sys
from io import StringIO
from pathlib import Path

from prefect import flow, task
from rich.console import Console

from benchmarks.run_folder import new_run_id
from reports import difference, terminal, timings
from reports.asking import find_run
from reports.records import RecordError
from runners.guard import guarded

ROOT = Path(__file__).parent.parent
RESULTS = "results/nightly"


class RunError(RuntimeError):
    """A run that did not end well; the message is one line with the last thing it said."""


@flow(name="nightly-comparison", log_prints=True)
def nightly_comparison(profile: str = "quick", results: str = RESULTS) -> list[str]:
    """Measure, render, compare with the newest run in `results`.

    Args:
        profile: of the lab.
        results: the folder of these runs, apart from those made by hand; relative to the working folder.

    Returns:
        The cells that are slower beyond the noise of both runs.

    Raises:
        RunError: a cell or the whole run failed.
    """
    folder = Path(results)
    before = _newest(folder)
    taken = [path.name for path in folder.glob("*")]
    run = measure(profile, folder / new_run_id(profile, taken))
    if before is None:
        print(f"{run} is the first run here: nothing to compare it with")
        return []
    return compare(before, run)


@task(log_prints=True)
def measure(profile: str, out: Path) -> Path:
    """Run the benchmarks, which end by rendering their report, and log what they say.

    In a process of its own: the lab starts a server of its own and sets its environment before Prefect is imported.
    What a cancelled flow run leaves of it is ended by a guard.

    Raises:
        RunError: the exit code is not 0.
    """
    command = [sys.executable, "-m", "pytest", "benchmarks", "--benchmark-only", "--lab-profile", profile]
    last = ""
    with (
        guarded(),
        subprocess.Popen(
            [*command, "--lab-out", str(out.absolute())],
            cwd=ROOT,
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
    if process.returncode:
        raise RunError(f"the run in {out} ended with exit code {process.returncode}: {last or 'it said nothing'}")
    return out


@task(log_prints=True)
def compare(before: Path, run: Path) -> list[str]:
    """Log what `runner-lab diff` would show, and return the cells that are slower."""
    found = difference.difference(timings.read(before), timings.read(run))
    said = StringIO()
    terminal.show_difference(found, Console(file=said, width=120))
    print(said.getvalue().rstrip())
    return [cell.cell for cell in found.of("slower")]


def _newest(folder: Path) -> Path | None:
    try:
        return find_run(None, folder)
    except RecordError:
        return None


if __name__ == "__main__":
    nightly_comparison()
