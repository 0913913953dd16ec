"""What a flow and its tasks do, noted from within their processes: an entry a line, a file for each process.

Prefect's own seams carry it: the function of a task is wrapped in a copy of the task as it is submitted or called, so
that it travels to whatever process runs it, under any runner. Times are `time.monotonic`, which all processes of a
machine share; CPU is that of the thread.

Entries, by their `k`:

- `process`: the file's first. `runtime`: address of CPython's state, by which `sampler` tells a wait for the GIL.
- `flow`: the function of the flow begins or ends (`end`).
- `submit`: a task handed to a runner: `id`, `task`, `runner`, `where` in the user's code, `deps`, how many of its
  arguments are futures themselves (`asks`), the flow run that does it (`run`), and the name of that flow where it is
  a sub-flow (`flow`).
- `call`: a task called directly; `call` is its number, which its `body` has as well. What goes on behind the call, as
  a coroutine does, took `cpu` until it was `done`.
- `subflow`: a flow was called within this one; its function, `name`, went on from `f0` to `f1`.
- `wait`: the thread waited for the task runs `ids`.
  These four have the task run whose body did it (`by`; None: the flow's own code).
- `body`: one attempt of a task's function: `tags` of its run, `cpu`, `children` (CPU of all child processes that had
  ended, before it and after it), `queued` (waiting for a core), `late` (of an async one: waiting for others in its
  event loop), `ran` (of a generator: making its items), `arg` and `out` bytes as pickled, `walk` (CPU of
  Prefect's way through the items of its arguments), `key` (CPU of hashing them for a cache key), `failed`, and the
  `threads` that it has started and that have ended: thread, begin, end and CPU of each.
- `limit`: slots were taken of the concurrency limits `names`, `slots` of each, in the task run `id`: begun, had (`t1`)
  and given back (`t2`; None for a rate limit).
- `kept`: Prefect has written the result of the task run `id`, or gone through its items: `cpu`.
- `gil`: since its process began, what holds the GIL: the normal equations of a regression (`knocker`).
  `pool`: CPU of libraries' own threads while a task ran, `queued`: what these waited for a core.
- `pools`: threads of libraries in the process.
- `family`: at `t`, CPU so far (`cpu`) of each child process that lives.
"""

from __future__ import annotations

import json
import os
import pickle
import threading
import time
from pathlib import Path
from typing import Any

from runner_lab.benchmarks.advise.knocker import Knocker

_SIZING_SHARE = 0.005
_SIZING_FREE_S = 0.05
"""Sizes of values are taken as long as that costs less than this share of the time, and this much at the start."""
LARGEST_TEXT = 120


class Probe:
    """The entries of one process."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.pid = os.getpid()
        self._file = os.open(Path(folder) / f"{self.pid}.jsonl", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        self._began_s = time.monotonic()
        self._sizing_s = 0.0
        self._sized: set[str] = set()
        self.knocker = Knocker(self)
        self.note(k="process", pid=self.pid, runtime=_runtime_address())

    def note(self, **entry: Any) -> None:
        os.write(self._file, json.dumps(entry, separators=(",", ":")).encode() + b"\n")

    def size(self, value: Any, of: str) -> int | None:
        """Bytes of `value` as pickled; None where that would cost too much, or does not work.

        Args:
            of: what it is, such as the result of a task; the first one of each is always taken.
        """
        began = time.monotonic()
        if of in self._sized and self._sizing_s > _SIZING_FREE_S + _SIZING_SHARE * (began - self._began_s):
            return None
        self._sized.add(of)
        try:
            return _pickled_bytes(value)
        except Exception:
            return None
        finally:
            self._sizing_s += time.monotonic() - began


_probe: Probe | None = None
_lock = threading.Lock()


def probe(folder: str) -> Probe:
    """That of this process, with its seams in place; a child that was forked gets its own."""
    global _probe
    if _probe is None or _probe.pid != os.getpid():
        with _lock:
            if _probe is None or _probe.pid != os.getpid():
                first = _probe is None
                _probe = Probe(folder)
                if first:
                    # Its seams need this module.
                    from runner_lab.benchmarks.advise.seams import install

                    install(folder)
    return _probe


def _pickled_bytes(value: Any) -> int:
    """Without copying what is large: buffers of arrays are counted, not written."""
    outside: list[Any] = []
    try:
        text = pickle.dumps(value, protocol=5, buffer_callback=outside.append)
    except Exception:
        import cloudpickle

        outside.clear()
        text = cloudpickle.dumps(value, protocol=5, buffer_callback=outside.append)
    return len(text) + sum(buffer.raw().nbytes for buffer in outside)


def _runtime_address() -> int | None:
    try:
        import ctypes

        return ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
    except Exception:
        return None
