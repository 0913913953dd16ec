"""Who holds the GIL, seen from a thread of the same process."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from runner_lab.benchmarks.advise import noted, reading
from runner_lab.benchmarks.advise.knocker import Knocker, living_children, queued_s

LARGE = bytes(20_000_000)


def counts() -> None:
    """Python code, some 60 ms of it."""
    number = 0
    for i in range(500_000):
        number = (number * 31 + i) % 1_000_003


def hashes() -> None:
    """C code without the GIL."""
    for _ in range(5):
        hashlib.sha256(LARGE).digest()


class Notes:
    pid = 1

    def __init__(self, folder: Path) -> None:
        self.file = folder / "1.jsonl"

    def note(self, **entry) -> None:
        with open(self.file, "a") as file:
            file.write(json.dumps(entry) + "\n")


def share(folder: Path, body: Callable[[], None], threads: int = 1) -> float:
    """Of its CPU under the GIL, as seen in a process in which nothing else goes on."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as alone:
        return alone.submit(seen, folder, body, threads).result()


def seen(folder: Path, body: Callable[[], None], threads: int) -> float:
    """The same in this process, while bodies are run with pauses between them."""
    knocker = Knocker(Notes(folder))

    def run() -> None:
        for number in range(6):
            key = threading.get_ident(), number
            knocker.enter(key, "body")
            body()
            knocker.leave(key)
            time.sleep(0.02)

    workers = [threading.Thread(target=run) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    knocker.save()
    (folder / "2.jsonl").write_text('{"k":"process"}\n')
    return reading.gil_shares(noted.read(folder).gil.values())["body"]


@pytest.mark.parametrize("threads", [1, 3])
def test_python_code_holds_the_gil_all_the_time_however_short_it_is(tmp_path, threads):
    """Before the first look at a body its thread has computed for a while, which is of no interval."""
    assert share(tmp_path, counts, threads) > 0.85


def test_code_without_the_gil_holds_it_hardly_ever(tmp_path):
    assert share(tmp_path, hashes) < 0.3


def test_each_thread_knows_how_long_it_had_no_core():
    found: list[float | None] = [queued_s()]
    thread = threading.Thread(target=lambda: found.append(queued_s()))
    thread.start()
    thread.join()
    assert all(seconds is not None and seconds >= 0 for seconds in found)


def test_children_that_were_there_before_are_not_the_tasks(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as before:
        knocker = Knocker(Notes(tmp_path))
        assert before.pid in living_children()
        assert before.pid in knocker._others
