"""What the lean runners whose tasks run in other processes have in common: how a task is submitted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar
from uuid import UUID

from prefect.exceptions import Pause
from prefect.futures import PrefectFuture
from prefect.tasks import Task

from . import internals
from .context import Context, LeanRunner, Package
from .crash import Submitted, flow_run_ended_badly
from .internals.savings import Saving


class LeanRemoteRunner(LeanRunner):
    """A lean runner whose tasks run in other processes. To be put before the stock runner among the base classes.

    Args:
        crash_reruns: How often a task may run again after the worker that ran it has died.
    """

    _context: Context
    _sending: ClassVar[Saving]
    """What it saves by the way in which it hands tasks to the engine. Without it, it is the stock runner."""
    _not_started = "The task runner must be started before submitting work."
    _started: bool

    def __init__(self, *args: Any, crash_reruns: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.crash_reruns = crash_reruns
        self._flow_run_id: UUID | None = None

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
        self._flow_run_id = submitted.flow_run_id
        try:
            package = self._context.pack(task, submitted.task_run_id, parameters, wait_for, dependencies)
        except Exception as unpicklable:
            return self._unsent(submitted, unpicklable)
        return self._send(submitted, package)

    def duplicate(self) -> Any:
        # Set afterwards: a subclass may take no more arguments than the stock runner gives it.
        twin = super().duplicate()  # type: ignore[misc]
        twin.crash_reruns = self.crash_reruns
        return twin

    def _send(self, submitted: Submitted, package: Package) -> PrefectFuture[Any]:
        """Hand a task to the engine."""
        raise NotImplementedError

    def _unsent(self, submitted: Submitted, unpicklable: Exception) -> PrefectFuture[Any]:
        raise unpicklable

    def _ended_badly(self, exception: type[BaseException] | None) -> bool:
        """Whether the flow run failed or is cancelled. `exception` is what the runner exits with."""
        # By these a flow run that is suspended leaves, and a generator flow that is not exhausted.
        if exception is None or issubclass(exception, (Pause, GeneratorExit)):
            return flow_run_ended_badly(self._flow_run_id)
        return True
