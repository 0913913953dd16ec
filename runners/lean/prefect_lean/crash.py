"""The end of a task run whose worker died, or that was stopped with its flow run: nobody else will record it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateDetails, TaskRun
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.logging import get_logger
from prefect.states import Crashed, Failed, Pending, State
from prefect.tasks import Task

from . import internals

# The events of a worker that died may still be under way when its death is noticed.
_EVENTS_LATE_S = 2.0

logger = get_logger("task_runner.lean")


@dataclass(frozen=True)
class Submitted:
    """What is known of a task run where it was submitted."""

    task: Task
    task_run_id: UUID
    flow_run_id: UUID | None
    runner: str
    origin: internals.Origin = field(default_factory=lambda: internals.Origin())
    run_count: int | None = None
    """The attempt of the flow run, from 1."""

    @classmethod
    def of(cls, task: Task, task_run_id: UUID, runner: object) -> Submitted:
        flow_run_context = internals.flow_run_context()
        flow_run = flow_run_context.flow_run if flow_run_context else None
        flow_run_id, run_count = (flow_run.id, flow_run.run_count) if flow_run else (None, None)
        return cls(task, task_run_id, flow_run_id, type(runner).__name__, run_count=run_count)

    def crashed(self, why: str) -> State:
        """Record the task run as crashed. `why` names the worker."""
        message = f"{self.runner}: {why}"
        logger.error("Task run %s of task %r crashed: %s", self.task_run_id, self.task.name, message)
        return self._record(Crashed(message=message, state_details=self._details()), wait_s=_EVENTS_LATE_S)

    def failed(self, error: BaseException, begun: bool = True) -> State:
        """Record that the task run failed by `error` outside of its engine: its call or its result could not be sent.

        begun: whether it may have. The API may have another state of it then, Completed even.
        """
        what = "the task or its result" if begun else "an argument or the task itself"
        message = f"{self.runner}: {what} could not be sent between processes: {type(error).__name__}: {error}"
        logger.error("Task run %s of task %r failed: %s", self.task_run_id, self.task.name, message)
        state: State[Any] = Failed(message=message, data=error, state_details=self._details())
        return self._record(state, wait_s=_EVENTS_LATE_S if begun else 0)

    def not_ready(self, upstream: str = "") -> State:
        """Record that the task run never started because an upstream task run crashed."""
        message = f"Upstream task run {upstream}did not reach a 'COMPLETED' state."
        # Such a task run never reached a worker: the API cannot know it yet.
        return self._record(Pending(name="NotReady", message=message, state_details=self._details()), wait_s=0)

    def _details(self) -> StateDetails:
        return StateDetails(task_run_id=self.task_run_id, flow_run_id=self.flow_run_id)

    def _record(self, state: State, wait_s: float) -> State:
        """Tell the API. That it cannot be told, since it starts anew say, must not hide how the task run ended."""
        try:
            with self.origin.entered(with_flow_run=True):
                # As an event it is recorded in order of time, wherever late events of the worker come in.
                if not (wait_s and self._set_state(state, wait_s)):
                    self._emit(state)
        except Exception:
            self._not_told()
        return state

    def _set_state(self, state: State, wait_s: float) -> bool:
        """Whether the API has the task run, for whose first event it is given some time, and took the state."""
        deadline = time.monotonic() + wait_s
        try:
            with get_client(sync_client=True) as client:
                while time.monotonic() < deadline:
                    try:
                        client.set_task_run_state(self.task_run_id, state, force=True)
                        return True
                    except (ObjectNotFound, PrefectHTTPStatusError) as refused:
                        # Prefect's client leaves it at the status here.
                        response = getattr(refused, "response", None)
                        if response is not None and response.status_code != 404:
                            raise
                        time.sleep(0.1)
        except Exception:
            self._not_told()
        return False

    def _emit(self, state: State) -> None:
        key = str(uuid4())
        task_run = TaskRun(
            id=self.task_run_id,
            name=f"{self.task.name}-{key[:3]}",
            flow_run_id=self.flow_run_id,
            task_key=self.task.task_key,
            dynamic_key=key,
            tags=sorted(self.task.tags),
            state=state,
            state_id=state.id,
            state_type=state.type,
            state_name=state.name,
        )
        internals.emit_task_run_state_change_event(task_run=task_run, initial_state=None, validated_state=state)

    def _not_told(self) -> None:
        logger.warning("The API did not record the end of task run %s.", self.task_run_id, exc_info=True)


def flow_run_ended_badly(flow_run_id: UUID | None, run_count: int | None = None) -> bool:
    """Whether the flow run failed, crashed or is cancelled. Its own context does not tell a runner that is closing.

    run_count: the attempt that ends. When it fails and is to be retried, Prefect sets the flow run to Running, which
        begins the next attempt, before the runner closes.
    """
    if flow_run_id is None:
        return False
    try:
        with get_client(sync_client=True) as client:
            flow_run = client.read_flow_run(flow_run_id)
    except Exception:
        # Whoever asks is about to end its workers, and does so whatever becomes of the question.
        logger.warning("The API did not say how flow run %s ended.", flow_run_id, exc_info=True)
        return False
    if run_count is not None and flow_run.run_count > run_count:
        return True
    state = flow_run.state
    return state is not None and (
        state.is_failed() or state.is_crashed() or state.is_cancelled() or state.is_cancelling()
    )
