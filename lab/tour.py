"""The tour that `runner-lab demo` takes: the tutorial, every flow, then a deployment, its worker and its schedule.

Each step is a command that docs/tutorial.md or docs/deploying.md shows, in a process of its own, against a server and a
home that last as long as the demo.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

import runner_lab.flows
from runner_lab.runners.isolation.environment import environment, without_foreign
from runner_lab.runners.isolation.guard import guarded
from runner_lab.runners.isolation.waiting import last_within
from runner_lab.runners.server import ServerError, ask, lab_server

DESCRIBED = Path(__file__).with_name("prefect.yaml")
"""The project's deployments: in a checkout a link to them, since Prefect looks for the file at the top."""
DEPLOYMENT = "hello-flow/hello-flow-deployment"
FLOWS = {
    "hello_flow": "A flow",
    "hello_tasks": "A flow of tasks",
    "retrying_task": "A task with retries",
    "cached_task": "A task with a cached result",
    "parallel_tasks": "Tasks that run at the same time",
    "choose_runner": "One flow under threads, Dask and Ray",
}
PLAIN = "hello_world"
STEPS = len(FLOWS) + 8
DOCS = "docs/tutorial.md and docs/deploying.md of the project"
SCHEDULE_S = 20
"""A minute, as in prefect.yaml, is long to watch; with much less runs pile up, as each imports Prefect twice."""

_LIMIT_S = 180.0


class TourError(ValueError):
    """A step that failed; the message is one line, with its command and its last output."""


def take(console: Console) -> None:
    """Take the tour. However it ends, it leaves no process and no file behind.

    Raises:
        TourError: a step failed.
    """
    begun = time.monotonic()
    with _progress(console) as progress, guarded() as scratch:
        tour = Tour(scratch, project(scratch / "runner-lab"), progress)
        tour.step("Plain Python")
        tour.run(f"python -m flows.{PLAIN}")
        tour.step("A Prefect server, with its data in one SQLite file")
        try:
            with tour.server():
                for module, title in FLOWS.items():
                    tour.step(title)
                    tour.run(f"python -m flows.{module}")
                _deploy(tour)
        except ServerError as error:
            raise TourError(str(error)) from error
    console.print(f"\nThat was the tutorial, in {time.monotonic() - begun:.0f} s; step by step: {DOCS}")


def _deploy(tour: Tour) -> None:
    tour.step("A work pool: how the runs sent to it are started")
    tour.run("prefect work-pool create my-pool --type process")
    tour.step("A deployment: which flow, from where, to which pool")
    tour.run("prefect --no-prompt deploy -n hello-flow-deployment")
    tour.step("A worker, which asks the pool for runs")
    tour.start("prefect worker start --pool my-pool")
    tour.wait("the deployment is Ready", lambda: tour.api(f"deployments/name/{DEPLOYMENT}")["status"] == "READY")
    tour.step("A run of the deployment, by hand")
    tour.run(f"prefect deployment run {DEPLOYMENT} --watch")
    tour.step("The schedule is active, and runs appear by themselves")
    described = tour.scratch / "prefect.yaml"
    described.write_text(yaml.safe_dump(scheduled(SCHEDULE_S)), encoding="utf-8")
    tour.run(f"prefect --no-prompt deploy -n hello-flow-deployment --prefect-file {shlex.quote(str(described))}")
    tour.wait("a scheduled run is Completed", lambda: bool(tour.scheduled_and_completed()))
    tour.step("Everything is stopped and removed")


def project(folder: Path) -> Path:
    """Make a folder with the tutorial's flows and the deployments, as a checkout has them, and return it."""
    (folder / "flows").mkdir(parents=True)
    for name in ("__init__", PLAIN, *FLOWS):
        shutil.copy(Path(runner_lab.flows.__path__[0]) / f"{name}.py", folder / "flows")
    shutil.copy(DESCRIBED, folder)
    return folder


def scheduled(interval_s: float, path: Path = DESCRIBED) -> dict[str, Any]:
    """prefect.yaml with the schedule of its first deployment active, every `interval_s` seconds."""
    described = yaml.safe_load(path.read_text(encoding="utf-8"))
    described["deployments"][0]["schedules"] = [{"interval": interval_s, "active": True}]
    return described


class Tour:
    """What the steps share: a folder, a server, the environment of their commands, and the display.

    Args:
        scratch: the home of Prefect and the place of all files.
        project: the folder that the commands run in.
        progress: the display; what the commands say appears above it.
    """

    def __init__(self, scratch: Path, project: Path, progress: Progress) -> None:
        self.scratch = scratch
        self._project = project
        self._progress = progress
        self._bar = progress.add_task("", total=STEPS)
        self._begun = False
        self._api_url = ""

    def step(self, title: str) -> None:
        """Begin a step, and so end the one before."""
        self._progress.update(self._bar, description=title, advance=1 if self._begun else 0)
        self._begun = True
        self._progress.print(Text(f"\n{title}", style="bold"))

    @contextmanager
    def server(self) -> Iterator[None]:
        """A server for all commands until the end.

        Raises:
            ServerError: it did not start.
        """
        with lab_server(self.scratch / "home") as server:
            self._api_url = server.api_url
            self._progress.print(f"at {server.api_url}", style="dim")
            yield

    def run(self, command: str) -> None:
        """Run `command` to its end, and show its output as it comes.

        Raises:
            TourError: it failed.
        """
        last = ""
        with self._started(command, subprocess.PIPE) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.strip():
                    last = line.strip()
                    self._progress.print(Text(line.rstrip(), style="dim" if "|" in line else ""), soft_wrap=True)
        if process.returncode:
            raise TourError(f"`{command}` failed with exit code {process.returncode}: {last or 'no output'}")

    def start(self, command: str) -> None:
        """Start `command`, which runs until the end of the demo; its output goes to a file."""
        with open(self.scratch / "worker.log", "wb") as log:
            self._started(command, log)

    def wait(self, what: str, condition: Callable[[], bool], limit_s: float = _LIMIT_S) -> None:
        """
        Raises:
            TourError: `condition` did not hold within `limit_s`.
        """
        if not last_within(condition, limit_s, poll_s=0.5):
            raise TourError(f"not within {limit_s:.0f} s: {what}")
        self._progress.print(f"{what}", style="green")

    def api(self, path: str, asked: Mapping[str, Any] | None = None) -> Any:
        """What the server answers to a GET, or to a POST of `asked`."""
        body = None if asked is None else json.dumps(asked).encode()
        request = urllib.request.Request(
            f"{self._api_url}/{path}", body, {"Content-Type": "application/json"}, method="POST" if body else "GET"
        )
        with ask(request, 60.0) as answer:
            return json.load(answer)

    def scheduled_and_completed(self) -> list[Any]:
        """The flow runs that the schedule made and that ended well."""
        runs = self.api("flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}})
        return [run for run in runs if run["auto_scheduled"]]

    def _started(self, command: str, output: Any) -> subprocess.Popen[str]:
        self._progress.print(Text(f"$ {command}", style="cyan"), soft_wrap=True)
        program, *arguments = shlex.split(command)
        words = [sys.executable, *(["-m", "prefect"] if program == "prefect" else []), *arguments]
        return subprocess.Popen(
            words,
            cwd=self._project,
            env=_variables(self.scratch, self._api_url),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )


def _variables(scratch: Path, api_url: str) -> dict[str, str]:
    """The environment of the demo's commands: what the lab sets, with the console on, and everything in `scratch`."""
    variables = {**without_foreign(os.environ), **environment(scratch / "home", api_url)}
    del variables["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"]
    return {
        **variables,
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(scratch),
        "RAY_TMPDIR": str(scratch),
        # Every ten seconds by default.
        "PREFECT_WORKER_QUERY_SECONDS": "2",
    }


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(), MofNCompleteColumn(), BarColumn(20), TimeElapsedColumn(), TextColumn("{task.description}"),
        console=console, transient=True,
    )  # fmt: skip
