"""No orphans: whatever ends the lab, nothing that it started outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from runner_lab.runners.isolation import guard
from runner_lab.runners.isolation.environment import MARK
from runner_lab.runners.isolation.waiting import wait_for

LAB = """
import subprocess, sys, time
from runner_lab.runners.isolation.guard import guarded

child = "import time; print('up', flush=True); time.sleep(600)"
stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + child
family = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}]).wait()"
with guarded() as scratch:
    (scratch / "some" / "where").mkdir(parents=True)
    # In sessions of their own, as servers and pools are: no signal to the lab's group reaches them.
    for code in (child, stubborn, family):
        started = subprocess.Popen(
            [sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE
        )
        started.stdout.readline()
    print(scratch, flush=True)
    time.sleep(600)
"""

FORKING = """
import multiprocessing, sys, time
from runner_lab.runners.isolation.guard import guarded

with guarded() as scratch:
    copy = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    copy.start()
    print(copy.pid, scratch, flush=True)
    if sys.argv[1] == "stay":
        time.sleep(600)
"""


def ended(process: psutil.Process) -> bool:
    """A zombie has ended too: its parent was killed, and nobody may be there to reap it."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def lab(users_environment, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", LAB],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=users_environment,
        cwd=tmp_path,
        start_new_session=True,
        # As in a terminal, even where the suite itself runs in the background of a shell.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    yield process
    process.kill()
    process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_lab_ended_by_a_signal_leaves_no_process_and_no_folder(lab, number):
    scratch = Path(lab.stdout.readline().strip())
    family = psutil.Process(lab.pid).children(recursive=True)
    assert len(family) == 5  # three children, a grandchild, and the guard itself
    assert scratch.is_dir()

    # To the whole group, as a terminal does on Ctrl-C.
    os.killpg(lab.pid, number)

    while not all(ended(process) for process in family):
        time.sleep(0.05)
    assert not scratch.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is read from /proc")
@pytest.mark.parametrize("how", ["stay", "return"])
def test_a_copy_that_the_lab_has_forked_keeps_the_guard_from_nothing(users_environment, tmp_path, how):
    lab = subprocess.Popen(
        [sys.executable, "-c", FORKING, how], stdout=subprocess.PIPE, text=True, env=users_environment, cwd=tmp_path
    )
    assert lab.stdout is not None
    with lab.stdout:
        pid, scratch = lab.stdout.readline().split()
        copy = psutil.Process(int(pid))
        try:
            if how == "stay":
                lab.kill()
            lab.wait(60)
            wait_for("the end of the copy", lambda: ended(copy) and not Path(scratch).exists(), 60)
        finally:
            lab.kill()
            lab.wait()
            with suppress(psutil.NoSuchProcess):
                copy.kill()


def test_what_is_started_inside_is_ended_at_the_end():
    with guard.guarded() as scratch:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        assert scratch.is_dir()
    assert child.wait() == -signal.SIGTERM
    assert not scratch.exists()


def test_what_was_started_before_is_left_alone():
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as child:
        with guard.guarded():
            pass
        assert child.poll() is None
        child.stdin.close()
        assert child.wait() == 0


def test_marks_this_processs_future_children_and_takes_the_mark_back():
    before = os.environ.get(MARK)
    with guard.guarded():
        mark = os.environ[MARK]
        assert mark != before
        with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as child:
            assert [process.pid for process in guard.marked(mark)] == [child.pid]
            child.stdin.close()
    assert os.environ.get(MARK) == before


@pytest.mark.parametrize("temporary", ["/tmp", "a/long/path/for/temporary/files/of/one/user"])
def test_paths_of_sockets_in_the_scratch_folder_stay_short(temporary, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / temporary))
    Path(tempfile.gettempdir()).mkdir(parents=True, exist_ok=True)

    scratch = guard.new_scratch()
    scratch.rmdir()

    ray = scratch / "s12345678" / "ray" / "session_2026-01-01_00-00-00_000000_1234567" / "sockets" / "plasma_store"
    assert len(str(ray)) <= 107
