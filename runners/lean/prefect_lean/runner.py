"""What the lean runners whose tasks run in other processes have in common: how a task is submitted."""

from __future__ import annotations

import abc
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, ClassVar
from uuid import UUID

from prefect.exceptions import Pause
from prefect.futures import PrefectFuture
from prefect.logging import get_logger
from prefect.tasks import Task

from . import internals
from .context import Context, LeanRunner, Package
from .crash import Submitted, flow_run_ended_badly
from .internals.savings import EVENTS, PATIENCE, Saving

# Workers come and go.
_COUNT_AGAIN_S = 10.0

CONNECT_TIMEOUT_S = 20.0

logger = get_logger("task_runner.lean")


class LeanRemoteRunner(LeanRunner):
    """A lean runner whose tasks run in other processes. To be put before the stock runner among the base classes.

    Args:
        crash_reruns: How often a task may run again after the worker that ran it has died.
        record: `all` states of a task, or `final`: the last one only, where the task takes a few seconds at most.
    """

    _context: Context
    _sending: ClassVar[Saving]
    """What it saves by the way in which it hands tasks to the engine. Without it, it is the stock runner."""
    _not_started = "The task runner must be started before submitting work."
    _started: bool

    def __init__(self, *args: Any, crash_reruns: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.crash_reruns = crash_reruns
        self.recording: tuple[Any, ...] | None = None
        """In a worker, how it records the tasks that it is given: so do the tasks that those submit."""
        self._counted: tuple[float, int] | None = None
        self._folder: str | None = None
        self._making_folder = threading.Lock()
        self._end_events: Callable[[], None] = lambda: None
        self._flow_run_id: UUID | None = None
        self._run_count: int | None = None

    def submit(
        self,
        task: Task[Any, Any],
        parameters: dict[str, Any],
        wait_for: Iterable[PrefectFuture[Any]] | None = None,
        dependencies: dict[str, set[Any]] | None = None,
    ) -> Any:
        """Send a task to a worker.

        Raises:
            RuntimeError: the runner is not started.
            Exception: what pickling raises when an argument or the task cannot be pickled.
        """
        if not self._sending.on():
            return super().submit(task, parameters, wait_for, dependencies)  # type: ignore[misc]
        if not self._started:
            raise RuntimeError(self._not_started)
        submitted = Submitted.of(task, internals.new_id(), self)
        self._flow_run_id, self._run_count = submitted.flow_run_id, submitted.run_count
        try:
            package = self._context.pack(
                task, submitted.task_run_id, parameters, wait_for, dependencies, self._recording()
            )
        except Exception as unpicklable:
            return self._unsent(submitted, unpicklable)
        return self._send(submitted, package)

    def duplicate(self) -> Any:
        twin = super().duplicate()
        twin.crash_reruns = self.crash_reruns
        return twin

    @abc.abstractmethod
    def _send(self, submitted: Submitted, package: Package) -> PrefectFuture[Any]:
        """Hand a task to the engine."""

    def _recording(self) -> internals.Recording:
        """How workers record the tasks of this runner."""
        if self.recording is not None:
            return internals.Recording(*self.recording)
        now = time.monotonic()
        if self._counted is None or now - self._counted[0] > _COUNT_AGAIN_S:
            self._counted = now, self._count_processes()
        # Several threads of a flow may submit its first tasks.
        with self._making_folder:
            if self._folder is None and self._ends_its_workers():
                self._folder = tempfile.mkdtemp(prefix="prefect-lean-")
        return internals.Recording(self.record, self._counted[1], self._folder)

    def _count_processes(self) -> int:
        """Those that send events of the tasks, each of its own ones."""
        return 1

    def _ends_its_workers(self) -> bool:
        """Whether its workers are on this machine and end with it: then it sends what they cannot send any more."""
        return False

    def _begin_events(self) -> None:
        if PATIENCE.on() and self.recording is None:
            internals.wait_no_longer()
        if EVENTS.on() and self.recording is None:
            self._end_events = internals.events_here(self.record)

    def _end_recording(self) -> None:
        """Its workers have ended if it ends them."""
        folder, self._folder = self._folder, None
        try:
            if folder is None:
                return
            if not EVENTS.on() or internals.take_over(folder):
                shutil.rmtree(folder, ignore_errors=True)
            else:
                logger.warning("Events that workers could not send before they ended are left in %s.", folder)
        finally:
            self._end_events()
            self._end_events = lambda: None

    def _unsent(self, submitted: Submitted, unpicklable: Exception) -> PrefectFuture[Any]:
        raise unpicklable

    def _ended_badly(self, exception: type[BaseException] | None) -> bool:
        """Whether the flow run, or its attempt, failed or is cancelled. `exception` is what the runner exits with."""
        if exception is None:
            return flow_run_ended_badly(self._flow_run_id, self._run_count)
        # By these a flow run that is suspended leaves, and a generator flow that is not exhausted. Another process may
        # have resumed the former.
        return not issubclass(exception, (Pause, GeneratorExit)) or flow_run_ended_badly(self._flow_run_id)


class LeanClusterRunner(LeanRemoteRunner):
    """A lean remote runner that may be told the address of a cluster.

    Args:
        connect_timeout_s: How long, in seconds, the cluster may take to answer. Nothing is submitted before it does.
    """

    _kept: ClassVar[tuple[str, ...]]
    """Arguments of the stock runner, and its own, that it has as attributes."""

    def __init__(self, *args: Any, connect_timeout_s: float = CONNECT_TIMEOUT_S, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connect_timeout_s = connect_timeout_s

    def duplicate(self) -> Any:
        twin = super().duplicate()
        twin.connect_timeout_s = self.connect_timeout_s
        return twin

    def _no_answer(self, address: str) -> ConnectionError:
        return ConnectionError(
            f"{type(self).__name__}: no cluster has answered at {address} within {self.connect_timeout_s:g} s."
            " Start it, correct the address, or give it longer by connect_timeout_s."
        )

    def _arguments(self) -> dict[str, Any]:
        kept = {name: getattr(self, name) for name in self._kept if hasattr(self, name)}
        if self.connect_timeout_s != CONNECT_TIMEOUT_S:
            kept["connect_timeout_s"] = self.connect_timeout_s
        return super()._arguments() | kept
