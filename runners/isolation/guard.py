"""No orphans: a small process that outlives the lab by a moment and ends what is left of it.

A process pool, a server or a Ray cluster does not end with a parent that was killed. The guard waits for a line from
the lab, which is done then, or for the lab to be its parent no more, for whatever reason. Then it ends every process
that carries this run's mark in its environment and every copy that the lab has forked of itself, and removes the
run's scratch folder.
"""

from __future__ import annotations

import atexit
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from runner_lab.runners.isolation.environment import MARK, variable
from runner_lab.runners.isolation.waiting import last_within

running: set[int] = set()
"""Pids of the guards that this process has started: part of the lab, and no worker of what is measured."""
GRACE_S = 3.0
_POLL_S = 0.5
_END_LIMIT_S = 30.0
"""For the guard to end what is left, which takes it half as long at most."""
_LONGEST_TEMPORARY = 12
_MODULE = "runner_lab.runners.isolation.guard"


def new_scratch() -> Path:
    """A folder with a short path: Ray puts sockets under it, and the path of a socket has at most 107 bytes.

    So it is not under a TMPDIR with a long one, as each user has on macOS.
    """
    usual = tempfile.gettempdir()
    too_long = len(usual) > _LONGEST_TEMPORARY and os.access("/tmp", os.W_OK)
    return Path(tempfile.mkdtemp(prefix="rlab-", dir="/tmp" if too_long else usual))


@contextmanager
def guarded(scratch: Path | None = None) -> Iterator[Path]:
    """Mark this process's future children, and see to it that none outlives it.

    Args:
        scratch: a folder for them, removed with them; by default a new one.

    Yields:
        That folder.
    """
    mark = uuid.uuid4().hex
    scratch = scratch or new_scratch()
    # Once more at the very end: a Ray that was interrupted in its start writes there in its own exit handler.
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    # The guard is started before the mark is set: it must not find itself.
    guard = subprocess.Popen(
        [sys.executable, "-P", "-m", _MODULE, mark, str(scratch), str(os.getpid())],
        stdin=subprocess.PIPE,
        # Ctrl-C goes to the whole foreground group; the guard has to survive it.
        start_new_session=True,
    )
    running.add(guard.pid)
    try:
        with variable(MARK, mark):
            yield scratch
    finally:
        running.discard(guard.pid)
        try:
            # A line, since a copy of this process may hold the pipe open: the guard may never see its end.
            guard.communicate(b"\n", timeout=_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            guard.kill()
            guard.wait()


def marked(mark: str) -> list[psutil.Process]:
    """The living processes started under `mark`, but for this one and for what ends with its parent by itself.

    Not those that were forked and run no program of their own: they show the environment that the process they are a
    copy of was started with. `copies` finds the lab's.
    """
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.environ().get(MARK) != mark:
                continue
            # Python starts one tracker a process and keeps it to the end: without it, the parent's exit is an error.
            if not any("multiprocessing.resource_tracker" in part for part in process.cmdline()):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def copies(lab_pid: int) -> list[psutil.Process]:
    """The living copies of the lab, as multiprocessing forks them: they hold the pipe to this guard. On Linux alone."""
    pipe = _target("/proc/self/fd/0")
    if pipe is None:
        return []
    others = (process for process in psutil.process_iter() if process.pid not in (os.getpid(), lab_pid))
    return [process for process in others if _holds(process.pid, pipe)]


def _holds(pid: int, file: str) -> bool:
    try:
        return any(_target(entry.path) == file for entry in os.scandir(f"/proc/{pid}/fd"))
    except OSError:
        return False


def _target(link: str) -> str | None:
    try:
        return os.readlink(link)
    except OSError:
        return None


def end(processes: list[psutil.Process], grace_s: float = GRACE_S) -> None:
    """Terminate, wait up to `grace_s` seconds, then kill. By process, never by name."""
    for process in processes:
        try:
            process.terminate()
        except psutil.Error:
            continue
    alive = _alive_after(processes, grace_s)
    for process in alive:
        try:
            process.kill()
        except psutil.Error:
            continue
    _alive_after(alive, grace_s)


def _alive_after(processes: list[psutil.Process], limit_s: float) -> list[psutil.Process]:
    """Those still running when `limit_s` is over, or none as soon as none is.

    A zombie is not: it waits for a parent that may itself be waiting for this guard, so `psutil.wait_procs` would
    wait for it in vain.
    """
    last_within(lambda: not any(map(runs, processes)), limit_s, poll_s=0.02)
    return [process for process in processes if runs(process)]


def is_guard(process: psutil.Process) -> bool:
    """Whether it is a guard: not to be ended, since it ends what another process leaves, and then itself."""
    try:
        return _MODULE in process.cmdline()
    except psutil.Error:
        return False


def runs(process: psutil.Process) -> bool:
    """Whether it lives; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def main(mark: str, scratch: str, lab_pid: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # End-of-file is seen as well, and sooner, where the lab was killed and no copy of it holds the pipe.
    while os.getppid() == int(lab_pid) and not select.select([sys.stdin], [], [], _POLL_S)[0]:
        pass
    # A second look for what was being started at the first.
    for _ in range(2):
        if left := [*marked(mark), *copies(int(lab_pid))]:
            end(left)
            time.sleep(0.2)
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
