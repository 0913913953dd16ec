"""What threads of profiled processes wait for, seen from outside: a look at all of them some fifty times a second.

From within nobody can look at a thread that waits for the GIL without holding the GIL. Linux tells a parent for each
thread of its descendants which system call it is in and with what address: a wait for the GIL is a futex within
CPython's own state, whose address each process notes (`probe`). Elsewhere there are no looks, and what is neither CPU
nor queueing for a core is taken for waiting.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

LOOKS = "looks.jsonl"
_EVERY_S = 0.02
_MOST_SHARE = 0.02
"""Of a core that looking may take; with many threads the looks are further apart."""
_FUTEX = ("202", "98")
"""Its number on x86-64 and on arm64."""
_RUNTIME_BYTES = 2_000_000


class Sampler:
    """Looks at the threads of all processes that have entries in `folder`, until `stop`.

    A line a look: the time, and by process the threads that wait for the GIL (`gil`) and for anything else (`wait`).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._over = threading.Event()
        self._processes: dict[int, int | None] = {}
        self._thread = threading.Thread(target=self._look_on, daemon=True, name="runner-lab-sampler")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(10)

    def _look_on(self) -> None:
        with open(self._folder / LOOKS, "w", encoding="utf-8") as out:
            every_s, found_s = _EVERY_S, 0.0
            while not self._over.wait(every_s):
                began, cpu = time.monotonic(), time.thread_time()
                if began - found_s > 0.25:
                    self._find()
                    found_s = began
                look = {str(pid): states for pid, states in self._states() if states["gil"] or states["wait"]}
                if look:
                    out.write(json.dumps({"t": began, "by": look}, separators=(",", ":")) + "\n")
                every_s = max(_EVERY_S, (time.thread_time() - cpu) / _MOST_SHARE)

    def _find(self) -> None:
        for path in self._folder.glob("*.jsonl"):
            if not path.stem.isdigit() or int(path.stem) in self._processes:
                continue
            with open(path, encoding="utf-8") as file:
                first = file.readline()
            if first.endswith("\n"):
                self._processes[int(path.stem)] = json.loads(first).get("runtime")

    def _states(self) -> Iterator[tuple[int, dict[str, list[int]]]]:
        for pid, runtime in list(self._processes.items()):
            states: dict[str, list[int]] = {"gil": [], "wait": []}
            try:
                threads = [path.name for path in Path(f"/proc/{pid}/task").iterdir()]
            except OSError:
                continue
            for tid in threads:
                try:
                    with open(f"/proc/{pid}/task/{tid}/syscall", encoding="ascii") as file:
                        words = file.read().split()
                except (OSError, ValueError):
                    continue
                if not words or words[0] == "running":
                    continue
                within = runtime is not None and words[0] in _FUTEX
                gil = within and 0 <= int(words[1], 16) - (runtime or 0) < _RUNTIME_BYTES
                states["gil" if gil else "wait"].append(int(tid))
            yield pid, states
