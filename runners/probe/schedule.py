"""Where a task's time goes: a probe that notes when a task passes the boundaries of its stages.

`Schedule` turns it on and off while tasks are submitted one at a time. Each task carries a `Switch`, which does the
same in the worker that unpickles it: so it reaches workers of every engine, and those that join late. What is timed is
listed in `runners.probe.points`. These functions are wrapped while the probe is on, and are themselves while it is off.
Spans are kept in one file a process, as `time.monotonic` readings, which all processes of one host share.

Importing this module imports neither Prefect nor an engine.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from runner_lab.runners.probe.points import POINTS, Attribute, Point
from runner_lab.runners.probe.spans import Span, SpanFile, read_moved, read_spans

SETTLE = 1
"""Tasks at the begin of each section that are not judged: the first one in a worker turns its probe on or off."""


@dataclass(frozen=True)
class Schedule:
    """The probe over a chain of tasks: off for a section, on for the next, and so on.

    folder: where spans are written; every worker must reach it.
    engine: whose functions are timed.
    section: tasks of a section, the `SETTLE` first of them not judged.
    """

    folder: str
    engine: str
    section: int

    def __call__(self, lane: int) -> Switch:
        """Turn the probe of this process on or off for task number `lane`; the switch does it in the worker."""
        switch = Switch(self.folder, self.engine, self.on(lane), os.getpid())
        _probe.caller = threading.get_ident()
        _probe.turn(switch)
        return switch

    def on(self, lane: int) -> bool:
        return lane // self.section % 2 == 1

    def judged(self, lane: int) -> bool:
        return lane % self.section >= SETTLE

    def __enter__(self) -> Schedule:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Turn the probe of this process off, however the chain has ended."""
        _probe.turn(Switch(self.folder, self.engine, False, os.getpid()))

    def recording(self) -> ProbeRecording:
        """What all processes have written."""
        return ProbeRecording(os.getpid(), tuple(read_spans(self.folder)), read_moved(self.folder))


@dataclass(frozen=True)
class ProbeRecording:
    """What the probes of all processes saw. `moved`: stages of which a function is not the one that was tested."""

    driver: int
    spans: tuple[Span, ...]
    moved: frozenset[str]


@dataclass(frozen=True)
class Switch:
    """Travels with a task; where it is unpickled it turns the probe on or off. `driver` is the submitting process."""

    folder: str
    engine: str
    on: bool
    driver: int

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrive, (self.folder, self.engine, self.on, self.driver)


def _arrive(folder: str, engine: str, on: bool, driver: int) -> Switch:
    switch = Switch(folder, engine, on, driver)
    # A scheduler within the driver's process unpickles it too.
    if os.getpid() != driver:
        _probe.turn(switch)
    return switch


class _Local(threading.local):
    """`depth` of task spans that are open in this thread; `arrived_s` when a call came in that is not yet unpacked."""

    depth = 0
    arrived_s: float | None = None


@dataclass
class _Probe:
    """The probe of this process.

    What it puts in place of each function is made once: to turn it on or off takes a worker little time, of which some
    falls to tasks that are judged, since only the first task of a section is not and there are several workers.
    """

    caller: int = 0
    _folder: str = ""
    _file: SpanFile | None = None
    _timers: dict[Attribute, tuple[Any, Any]] = field(default_factory=dict)
    _on: bool = False
    _waiting: tuple[Point, ...] | None = None
    _modules: int = 0
    _marked: bool = False
    _local: _Local = field(default_factory=_Local)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def turn(self, switch: Switch) -> None:
        with self._lock:
            if not switch.on:
                self._turn_off()
            else:
                self._open(switch)
                self._find(switch)
                self._turn_on()
            self._marked = switch.on

    def note(self, stage: str, begin_s: float, end_s: float) -> None:
        if self._file is not None:
            self._file.note(stage, begin_s, end_s)

    def _end_of_task(self) -> None:
        # A task that brought no switch is not of the chain: whoever left the probe on is gone.
        if not self._marked:
            with self._lock:
                self._turn_off()
        self._marked = False

    def _open(self, switch: Switch) -> None:
        """Begin anew with each chain: what its engine is, and what has changed, belongs to its recording."""
        if switch.folder != self._folder:
            self._turn_off()
            self._file, self._folder = SpanFile(switch.folder), switch.folder
            self._timers.clear()
            self._waiting = None

    def _find(self, switch: Switch) -> None:
        """The functions that are imported by now; what is imported later is found at a later switch."""
        if self._waiting is not None and len(sys.modules) == self._modules:
            return
        self._modules = len(sys.modules)
        role = "driver" if os.getpid() == switch.driver else "worker"
        if self._waiting is None:
            self._waiting = tuple(
                p for p in POINTS if (not p.engines or switch.engine in p.engines) and role in p.roles
            )
        later = []
        for point in self._waiting:
            attributes = point.attributes()
            if not attributes:
                later.append(point)
            for attribute in attributes:
                if attribute.moved(point):
                    assert self._file is not None
                    self._file.moved(point.stage)
                else:
                    original = attribute.current()
                    self._timers[attribute] = original, self._timed(point, original)
                    self._on = False
        self._waiting = tuple(later)

    def _turn_on(self) -> None:
        if not self._on:
            for attribute, (_, timed) in self._timers.items():
                attribute.put(timed)
            self._on = True

    def _turn_off(self) -> None:
        if self._on:
            for attribute, (original, _) in self._timers.items():
                attribute.put(original)
            self._on = False

    def _timed(self, point: Point, function: Callable[..., Any]) -> Callable[..., Any]:
        forms = {"call": self._call, "enter": self._enter, "within": self._within, "arrive": self._arrive}
        return functools.wraps(function)(forms[point.form](point, function))

    def _call(self, point: Point, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            if point.caller_only and threading.get_ident() != self.caller:
                return function(*args, **kwargs)
            begin_s = time.monotonic()
            try:
                return function(*args, **kwargs)
            finally:
                self.note(point.stage, begin_s, time.monotonic())

        return timed

    def _enter(self, point: Point, function: Callable[..., Any]) -> Callable[..., Any]:
        @contextmanager
        def timed(*args: Any, **kwargs: Any) -> Iterator[Any]:
            begin_s = self._local.arrived_s or time.monotonic()
            self._local.arrived_s = None
            with function(*args, **kwargs) as value:
                self.note(point.stage, begin_s, time.monotonic())
                yield value

        return timed

    def _within(self, point: Point, function: Callable[..., Any]) -> Callable[..., Any]:
        @contextmanager
        def timed(*args: Any, **kwargs: Any) -> Iterator[Any]:
            with self._task(), function(*args, **kwargs) as value:
                yield value

        return timed

    def _arrive(self, point: Point, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            if point.stage != "task":
                self._local.arrived_s = time.monotonic()
                return function(*args, **kwargs)
            self._local.arrived_s = self._local.arrived_s or time.monotonic()
            with self._task():
                return function(*args, **kwargs)

        return timed

    @contextmanager
    def _task(self) -> Iterator[None]:
        begin_s = time.monotonic()
        self._local.depth += 1
        try:
            yield
        finally:
            self._local.depth -= 1
            self._local.arrived_s = None
            self.note("task", begin_s, time.monotonic())
            if not self._local.depth:
                self._end_of_task()


_probe = _Probe()
