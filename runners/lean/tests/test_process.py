"""What runs in a process of the pool: one call after another, of which it keeps nothing."""

from __future__ import annotations

import gc
import pickle
import weakref
from types import FunctionType, SimpleNamespace
from typing import Any


def test_worker_keeps_nothing_of_a_call(monkeypatch):
    """The process that waits for its next task has let go of the one before."""
    import cloudpickle
    from prefect_lean import processes

    class Value:
        pass

    seen: list[Any] = []

    def run(call: bytes, shared: bytes) -> Any:
        value = Value()
        seen.append(weakref.ref(value))
        return value

    class Calls:
        sent = iter([b"call", b"shared", cloudpickle.dumps([]), pickle.dumps({})])

        def recv_bytes(self) -> bytes:
            if (data := next(self.sent, None)) is None:
                gc.collect()
                seen.append(seen[0]())
                raise EOFError
            return data

        def send_bytes(self, data: bytes) -> None:
            pass

    monkeypatch.setattr("prefect.task_runners._initialize_process_pool_worker", lambda *args: None)
    monkeypatch.setattr(processes.shipping, "runner", lambda: run)
    monkeypatch.setattr(processes.signal, "signal", lambda *args: None)
    monkeypatch.setattr(processes, "_dumps_reply", lambda ended: b"reply")
    processes._serve(Calls(), None, pickle.dumps({}), cloudpickle.dumps((None, ())))  # type: ignore[arg-type]
    assert seen[1] is None


def test_call_that_cannot_be_unpickled_is_an_error_and_no_exit():
    """Prefect ends a process whose task raises outside of its engine: the flow would end with it."""
    import cloudpickle
    from prefect_lean import processes

    class Calls:
        received = iter([b"call", b"shared", b"no pickle", pickle.dumps({})])

        def recv_bytes(self) -> bytes:
            return next(self.received)

        def send_bytes(self, data: bytes) -> None:
            self.reply = data

    calls = Calls()
    assert processes._answer(calls, lambda *args: None)  # type: ignore[arg-type]
    ended, raised = cloudpickle.loads(calls.reply)
    assert not ended
    assert isinstance(raised, pickle.UnpicklingError)


def test_script_of_a_task_may_grow_meanwhile():
    """As by a task in another thread of the worker, that defines a global."""
    from prefect_lean import worker

    class Grows:
        def __getattribute__(self, name: str) -> Any:
            names["grown"] = True
            return object.__getattribute__(self, name)

    names: dict[str, Any] = {"grows": Grows(), "after": 1}
    function = FunctionType(compile("", "script", "exec"), names)
    function.__module__ = "__main__"
    worker._as_in_main(SimpleNamespace(fn=function))
    assert names["grown"]
