"""Ray without most of Prefect's cost per task."""

from __future__ import annotations

import signal
import threading
from importlib.metadata import version
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

import cloudpickle
import ray
from prefect.exceptions import CancelledRun
from prefect.states import State
from prefect.tasks import Task
from prefect_ray.context import RemoteOptionsContext
from prefect_ray.task_runners import PrefectRayFuture, RayTaskRunner
from ray.util.client.common import ClientObjectRef

from . import internals, shipping
from .context import Context, Package
from .crash import Submitted
from .futures import SettledFuture, unsettled
from .internals.savings import CALLS, Saving
from .let_go import LetGo, waited, without_value
from .runner import LeanClusterRunner

# A shared context above this size goes to the object store once instead of with every task.
_INLINE_BYTES = 64 * 1024

_CANCEL_ROUNDS = 3

_ANSWER_S = 5.0

# Of all runners of the process: a function is sent to a cluster once, and loaded by each worker once.
_functions: internals.Recent[Any] = internals.Recent(size=64)
_named_functions: internals.Recent[Any] = internals.Recent(size=64)

_DEATHS = (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError)

# As `internals` has them of Prefect: not there, since only a driver with Ray has prefect-ray as well.
_PINS = {
    "prefect_ray.task_runners:PrefectRayFuture": {"f8b0e7280c19bc5f70520d3042499191": "0.6.0"},
    "prefect_ray.task_runners:RayTaskRunner.__init__": {"61f6e486f4cce9834447f168d80d5cc8": "0.6.0"},
    "prefect_ray.task_runners:RayTaskRunner.__enter__": {"02318cf010c0b1aa98857c6a3e8fb269": "0.6.0"},
    "prefect_ray.task_runners:RayTaskRunner.__exit__": {"a6f5a3689e52dff2335a3727d6f31d56": "0.6.0"},
    "prefect_ray.context:RemoteOptionsContext": {"be0df45eab25d199ea2094f8981404d4": "0.6.0"},
}
_SENDING = Saving(
    "ray",
    "every submit makes a remote function, and workers wait for what they have; tasks take the way of the stock runner,"
    " at its cost.",
    pins=_PINS,
    needs=(CALLS,),
    package=f"prefect-ray {version('prefect-ray')}",
)


class LeanRayTaskRunner(LeanClusterRunner, RayTaskRunner[Any]):
    """`RayTaskRunner` at a fraction of its cost per task.

    Args:
        crash_reruns: How often a task may run again after the worker that ran it has died: Ray's `max_retries`. None
            leaves it to Ray (by default 3) and to `remote_options`, as the stock runner does.
        connect_timeout_s: How long, in seconds, the cluster at `address` may take to answer.
        record: `all` states of a task, or `final`: the last one only, where the task takes a few seconds at most.

    All other arguments are those of `RayTaskRunner`.
    """

    _stock = ("prefect_ray.task_runners", "RayTaskRunner")
    _sending = _SENDING
    _kept = ("address", "init_kwargs", "crash_reruns")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # In order of submission.
        self._submitted: WeakValueDictionary[UUID, LeanRayFuture] = WeakValueDictionary()
        self._let_go = LetGo()

    def cancel_all(self) -> None:
        """Cancel the tasks that have not finished; those that run are interrupted."""
        if self._sending.on():
            self._cancel()

    def _cancel(self) -> list[Submitted]:
        """Cancel them, and return those that run on: in a call, such as a long sleep, that no interrupt ends."""
        # Last submitted first: what waits must be gone before what runs leaves its slot to it.
        unfinished = self._unfinished()[::-1]
        # The interrupt can get lost in a worker that is still importing Prefect.
        for _ in range(_CANCEL_ROUNDS):
            for reference in unfinished:
                ray.cancel(reference)
            if unfinished:
                _, unfinished = ray.wait(unfinished, num_returns=len(unfinished), timeout=2, fetch_local=False)
        known = {future.wrapped_future: future.submitted for future in unsettled(self._submitted)}
        known |= dict(self._let_go.tasks)
        return [known[reference] for reference in unfinished if reference in known]

    def _unfinished(self) -> list[Any]:
        # One may be let go of between the two, so that it is among both; the other way round it would be among neither.
        kept = [future.wrapped_future for future in unsettled(self._submitted)]
        return list(dict.fromkeys(self._let_go.unfinished() + waited(kept)[1]))

    def __enter__(self) -> LeanRayTaskRunner:
        if self.address and not ray.is_initialized():
            self._reach(self.address)
        super().__enter__()
        self._begin_events()
        self._let_go = LetGo()
        # What is large goes to the object store, from which a worker reads it without a copy.
        self._context = Context(future_type=(ray.ObjectRef, ClientObjectRef), large_apart=True)
        self._stored: tuple[bytes, Any] = (b"", None)
        return self

    def __exit__(self, *exc_info: Any) -> None:
        if not self._sending.on():
            super().__exit__(*exc_info)
            return
        if exc_info[0] is SystemExit and threading.current_thread() is threading.main_thread():
            # What Ray makes of SIGTERM. It has also set an alarm that aborts the process after 3 s, whether what ended
            # has been reported by then or not.
            signal.alarm(0)
        # Its own Ray, and its part in that at an address, end with it: tasks that nobody waited for would stay Running
        # in the API. In a Ray that it has found they go on after a flow run that ended well, as upstream.
        running: list[Submitted] = []
        try:
            stopped = bool(self._unfinished()) and (self._owns_ray or self._ended_badly(exc_info[0]))
            if stopped:
                running = self._cancel()
            self._settle(all_ended=stopped and self._owns_ray)
        finally:
            self._let_go.clear(closed=self._owns_ray)
            self._stored = (b"", None)
            try:
                super().__exit__(*exc_info)
            finally:
                self._end_recording()
        # Their workers end with the driver's part in Ray, and cannot say so any more.
        for submitted in running if self._owns_ray else ():
            submitted.crashed("its Ray worker was stopped while it ran the task")

    def _reach(self, address: str) -> None:
        """Raises ConnectionError where no cluster answers, for which Ray waits for minutes, and in vain."""
        scheme, _, place = address.rpartition("://")
        place = place.partition("/")[0].partition("?")[0]
        # Such as `auto`, and what others than Ray resolve.
        if scheme not in ("", "ray") or ":" not in place:
            return
        import grpc  # type: ignore[import-untyped]
        from ray._private.grpc_utils import init_grpc_channel

        channel = init_grpc_channel(place)
        try:
            grpc.channel_ready_future(channel).result(timeout=self.connect_timeout_s)
        except grpc.FutureTimeoutError:
            raise self._no_answer(address) from None
        finally:
            channel.close()

    def _send(self, submitted: Submitted, package: Package) -> LeanRayFuture:
        function = self._remote_function(submitted.task)
        reference = function.remote(package.call, self._in_store(package.shared), *package.upstream)
        needs = frozenset(needed.binary() for needed in package.upstream if type(needed) is ray.ObjectRef)
        future = LeanRayFuture(submitted, reference, self._let_go, needs)
        self._submitted[submitted.task_run_id] = future
        self._let_go.tick()
        return future

    def _count_processes(self) -> int:
        return int(ray.cluster_resources().get("CPU", 1))

    def _ends_its_workers(self) -> bool:
        return self._owns_ray and not self.address

    def _settle(self, all_ended: bool) -> None:
        """Record the deaths of workers that nobody has asked about.

        all_ended: have all futures keep how their tasks ended, since without its Ray they could not ask any more.
        """
        unasked = {future.wrapped_future: future for future in unsettled(self._submitted)}
        ended, _ = waited(list(unasked))
        valueless = set(without_value(ended))
        for reference in ended:
            # In order of submission: what needs a task that has died comes after it.
            if all_ended or reference in valueless or unasked[reference].needs & self._let_go.dead:
                unasked[reference].wait(_ANSWER_S)
        for reference, submitted in self._let_go.died():
            LeanRayFuture(submitted, reference, self._let_go).wait(_ANSWER_S)

    def _remote_function(self, task: Task[Any, Any]) -> Any:
        options = dict(RemoteOptionsContext.get().current_remote_options)
        if self.crash_reruns is not None:
            options.setdefault("max_retries", self.crash_reruns)
        key = cloudpickle.dumps(options) if options else None

        def function() -> Any:
            return (ray.remote(**options) if options else ray.remote)(shipping.runner())

        def named() -> Any:
            return _functions.get(key, function).options(name=task.name)

        return _named_functions.get((task.name, key), named)

    def _in_store(self, shared: bytes) -> Any:
        if len(shared) <= _INLINE_BYTES:
            return shared
        # Another thread of the flow may put its own in its place.
        stored = self._stored
        if stored[0] is not shared:
            self._stored = stored = (shared, ray.put(shared))
        return stored[1]


class LeanRayFuture(SettledFuture, PrefectRayFuture[Any]):
    """A Ray future for which the death of its worker is a recorded state of the task run."""

    def __init__(
        self, submitted: Submitted, wrapped_future: Any, let_go: LetGo, needs: frozenset[bytes] = frozenset()
    ) -> None:
        super().__init__(task_run_id=submitted.task_run_id, wrapped_future=wrapped_future)
        self.submitted = submitted
        self._let_go = let_go
        self.needs = needs
        """The ids of its upstream references. References would keep the results."""

    def __del__(self) -> None:
        if self._final_state is None:
            self._let_go.tasks.append((self._wrapped_future, self.submitted))

    def done(self) -> bool:
        """Whether the task has ended, in whatever way."""
        if self._final_state is not None:
            return True
        if self._let_go.closed:
            return self._as_recorded().is_final()
        ready, _ = ray.wait([self._wrapped_future], timeout=0, fetch_local=False)
        return bool(ready)

    @property
    def state(self) -> State[Any]:
        if self._final_state is None and not self._let_go.closed and self.done():
            self.wait()
        return self._final_state or self._as_recorded()

    def _as_recorded(self) -> State[Any]:
        """The state that the API has."""
        return PrefectRayFuture.state.fget(self)  # type: ignore[attr-defined,no-any-return]

    def wait(self, timeout: float | None = None) -> None:
        if self._final_state is not None:
            return
        self._let_go.tick()
        try:
            timeout = _alarms_let_in(self._wrapped_future, timeout)
            result = ray.get(self._wrapped_future, timeout=timeout)
        except ray.exceptions.GetTimeoutError:
            return
        except _DEATHS as death:
            self._final_state = self._died(death)
        except Exception as error:
            if _is_unsent(error):
                self._final_state = self.submitted.failed(error)
            else:
                super().wait(timeout)
        else:
            if isinstance(result, State):
                self._final_state = result

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> Any:
        self._let_go.tick()
        try:
            if self._final_state is None:
                timeout = _alarms_let_in(self._wrapped_future, timeout)
            return super().result(timeout=timeout, raise_on_failure=raise_on_failure)
        except Exception as error:
            if self._final_state is not None:
                raise
            if isinstance(error, _DEATHS):
                self._final_state = self._died(error)
            elif _is_unsent(error):
                self._final_state = self.submitted.failed(error)
            else:
                raise
        return self._final_state.result(raise_on_failure=raise_on_failure, _sync=True)  # type: ignore[call-overload]

    def _died(self, death: Exception) -> State[Any]:
        self._let_go.dead.add(self._wrapped_future.binary())
        if isinstance(death, ray.exceptions.RayTaskError):
            # Ray gives the dependents of a task, which it never runs, the error of the task.
            return self.submitted.not_ready()
        return self.submitted.crashed(f"{_worker_of(self._wrapped_future)} died while it ran the task: {death}")


def _is_unsent(error: Exception) -> bool:
    """Whether the task ended outside of its engine: its call could not be loaded where it ran, or its result here."""
    if isinstance(error, ray.exceptions.RayTaskError):
        return not isinstance(error.cause, (CancelledRun, ray.exceptions.TaskCancelledError))
    return isinstance(error, (ray.exceptions.RaySystemError, ray.exceptions.ObjectStoreFullError))


def _alarms_let_in(reference: Any, timeout: float | None) -> float | None:
    """Wait for a task outside of Ray where an alarm is set, as by the timeout of a flow, and return what time is left.

    What the handler of a signal raises while `ray.get` waits is lost.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "getitimer"):
        return timeout
    if not signal.getitimer(signal.ITIMER_REAL)[0]:
        return timeout
    done = threading.Event()
    reference._on_completed(lambda _: done.set())
    return timeout if done.wait(timeout) else 0


def _worker_of(reference: Any) -> str:
    """The worker that ran a task. Only Ray's dashboard can tell; without one, the task is all there is to name."""
    from ray.util.state import get_task

    try:
        found = get_task(reference.task_id().hex(), timeout=3)
        attempt = found[-1] if isinstance(found, list) else found
        return f"Ray worker {attempt.worker_id} (process {attempt.worker_pid} on node {attempt.node_id})"
    except Exception:
        return f"the Ray worker of task {reference.task_id().hex()}"
