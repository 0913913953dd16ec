"""A program that runs beside this process and ends with it, also where this process is killed.

Run as a script, it is the small process between the two: it waits for its input to close, or for its parent to be gone.
It imports nothing but the standard library, so that any Python can run it from anywhere.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

START_LIMIT_S = 120.0
END_LIMIT_S = 20.0
POLL_S = 0.2


@contextmanager
def beside(
    command: Sequence[str | Path], folder: Path, ready: Callable[[], bool], user: int | None = None
) -> Iterator[None]:
    """Run `command` while entered, and remove its folder afterwards.

    Args:
        command: ends by SIGINT; what it prints goes to `log` in its folder.
        ready: whether it can be used; asked until it can.
        user: id of the user, and of the group, that runs it; this process's own by default.

    Raises:
        RuntimeError: it ends, or is not ready within START_LIMIT_S seconds; with the last line it printed.
    """
    order = {"command": [*map(str, command)], "folder": str(folder), "user": user, "parent": os.getpid()}
    keeper = subprocess.Popen(
        [sys.executable, "-I", __file__, json.dumps(order)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        # Ctrl-C goes to the whole foreground group: it is this process that then closes the input.
        start_new_session=True,
    )
    try:
        limit = time.monotonic() + START_LIMIT_S
        while not ready():
            if keeper.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(
                    f"{Path(command[0]).name} {Path(command[1]).name} did not start: {_last_line(folder)}"
                )
            time.sleep(0.02)
        yield
    finally:
        assert keeper.stdin is not None
        keeper.stdin.close()
        keeper.wait(2 * END_LIMIT_S)
        shutil.rmtree(folder, ignore_errors=True)


def _last_line(folder: Path) -> str:
    log = folder / "log"
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else "it printed nothing"


def main(text: str) -> int:
    order = json.loads(text)
    user, parent = order["user"], order["parent"]
    folder = Path(order["folder"])

    def end(signum: int, frame: FrameType | None) -> None:
        raise SystemExit(1)

    signal.signal(signal.SIGTERM, end)
    groups: list[int] | None = None if user is None else []
    with open(folder / "log", "ab") as log:
        process = subprocess.Popen(
            order["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            user=user,
            group=user,
            extra_groups=groups,
        )
    by_itself = False
    try:
        # A copy of the parent, as multiprocessing forks them, may hold the input open: the parent's end counts as well.
        while process.poll() is None and os.getppid() == parent and not select.select([sys.stdin], [], [], POLL_S)[0]:
            pass
        by_itself = process.poll() is not None
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        # Of a program that ended by itself the parent reads the log.
        if not by_itself or os.getppid() != parent:
            shutil.rmtree(folder, ignore_errors=True)
    return process.returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
