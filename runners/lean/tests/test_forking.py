"""Processes that are forked from one with Prefect imported: alike in what they know, each with numbers of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from prefect import flow, task
from prefect_lean import LeanProcessPoolTaskRunner, forking

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not forking.AVAILABLE, reason="processes are forked on Linux, before Python 3.14"),
]

LIMIT_S = 180.0
SCRIPT = """
import os, random, sys, time
from pathlib import Path

from prefect import flow, task

from prefect_lean import LeanProcessPoolTaskRunner

folder = Path(sys.argv[1])


@task
def draw(number: int) -> tuple[int, int, float, float]:
    import numpy

    # Until both are at it, so that each of the two processes has one.
    (folder / f"begun-{number}").touch()
    while not all((folder / f"begun-{other}").exists() for other in range(2)):
        time.sleep(0.01)
    return os.getpid(), os.getppid(), random.random(), numpy.random.random()


@flow(task_runner=LeanProcessPoolTaskRunner(max_workers=2))
def draws() -> list[tuple[int, int, float, float]]:
    return draw.map(range(2)).result()


@task
def stay(number: int) -> None:
    (folder / f"{number}-{os.getpid()}").touch()
    time.sleep(600)


@flow(task_runner=LeanProcessPoolTaskRunner(max_workers=2))
def stays() -> None:
    stay.map(range(2)).wait()


if __name__ == "__main__":
    print(repr(stays() if sys.argv[2] == "stays" else draws()))
"""


def start(tmp_path: Path, what: str) -> subprocess.Popen[str]:
    script = tmp_path / "forks.py"
    script.write_text(SCRIPT)
    folder = tmp_path / "noted"
    folder.mkdir()
    command = [sys.executable, str(script), str(folder), what]
    return subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.PIPE, text=True, start_new_session=True)


def test_who_gives_up_the_one_that_they_come_from_gets_another_and_leaves_nothing(lab_server, until):
    @task
    def parent() -> int:
        return os.getppid()

    @flow(task_runner=LeanProcessPoolTaskRunner(max_workers=1))
    def asks() -> int:
        return parent.submit().result(LIMIT_S)

    first = asks()
    assert asks() == first
    forking.retire()
    until(lambda: not psutil.pid_exists(first))
    assert asks() != first


def test_processes_come_from_one_and_draw_numbers_of_their_own(lab_server, tmp_path):
    process = start(tmp_path, "draws")
    printed, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    (pid, parent, python, numpy), (other, others_parent, others_python, others_numpy) = eval(printed.splitlines()[-1])
    assert pid != other
    # The process that they are forked from, and not the flow's.
    assert parent == others_parent != process.pid
    assert python != others_python
    assert numpy != others_numpy


def test_nothing_is_left_where_the_flow_is_killed(lab_server, tmp_path, until):
    process = start(tmp_path, "stays")
    noted = tmp_path / "noted"
    try:
        until(lambda: len(list(noted.iterdir())) == 2 or process.poll() is not None)
        assert process.poll() is None
        family = psutil.Process(process.pid).children(recursive=True)
        workers = {int(path.name.partition("-")[2]) for path in noted.iterdir()}
        assert workers <= {child.pid for child in family}
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    until(lambda: not any(map(alive, family)))


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
