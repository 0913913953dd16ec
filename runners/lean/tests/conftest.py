"""One flow run for each runner, stock and lean, that tests run their bodies in: on the suite's server and clusters."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

pytest_plugins = ["tests.suite"]


LIMIT_S = 120.0
"""For what would otherwise hang for ever; nothing is judged by how long it takes."""


@dataclass
class FlowHost:
    """One runner, and a flow run of it that tests run their bodies in."""

    name: str
    make: Callable[..., Any]
    """Make a runner, with further arguments of its constructor."""
    flow_run_id: Any = None
    _context: contextvars.Context | None = None
    _ready: threading.Event = field(default_factory=threading.Event)
    _done: threading.Event = field(default_factory=threading.Event)

    @property
    def engine(self) -> str:
        return self.name.partition("-")[0]

    def flow(self, body: Callable[[], Any], **more: Any) -> Any:
        """A flow with a runner of its own, made with `more` arguments. What `body` refers to is not shipped."""
        from prefect import flow

        key, module = uuid4().hex, __name__
        BODIES[key] = body

        def ends_up_in_body() -> Any:
            import sys

            return sys.modules[module].BODIES[key]()

        return flow(ends_up_in_body, name=body.__name__, task_runner=self.make(**more))

    def run(self, body: Callable[[], Any]) -> Any:
        """Run `body` as if it were the body of this arm's flow."""
        assert self._context is not None
        return self._context.copy().run(body)


# A flow is shipped to the workers with all that its function refers to: it refers to these by name.
HOSTS: dict[str, FlowHost] = {}
BODIES: dict[str, Callable[[], Any]] = {}
ARMS = [f"{engine}-{kind}" for engine in ("threads", "processes", "dask", "ray") for kind in ("stock", "lean")]


@pytest.fixture(scope="session", params=ARMS)
def arm(request: pytest.FixtureRequest, lab_server: Any) -> Iterator[FlowHost]:
    with _hosted(request.param, request) as arm:
        yield arm


@pytest.fixture(params=["threads", "processes", "dask", "ray"])
def pair(request: pytest.FixtureRequest, lab_server: Any) -> Iterator[tuple[FlowHost, FlowHost]]:
    """The stock and the lean runner of one engine."""
    with _hosted(f"{request.param}-stock", request) as stock, _hosted(f"{request.param}-lean", request) as lean:
        yield stock, lean


@contextmanager
def _hosted(name: str, request: pytest.FixtureRequest) -> Iterator[FlowHost]:
    from prefect import flow

    key = f"{name}-{uuid4().hex}"
    arm = HOSTS[key] = FlowHost(name, _maker(name, request))
    module = __name__

    def host(pet: str) -> None:
        import contextvars
        import sys

        from prefect.context import FlowRunContext

        here = sys.modules[module].HOSTS[key]
        flow_run_context = FlowRunContext.get()
        assert flow_run_context is not None
        assert flow_run_context.flow_run is not None
        here.flow_run_id = flow_run_context.flow_run.id
        here._context = contextvars.copy_context()
        here._ready.set()
        here._done.wait()

    hosting = threading.Thread(target=flow(host, name=name, task_runner=arm.make()), args=("fish",), daemon=True)
    hosting.start()
    assert arm._ready.wait(LIMIT_S)
    try:
        yield arm
    finally:
        arm._done.set()
        hosting.join(LIMIT_S)


def _maker(name: str, request: pytest.FixtureRequest) -> Callable[..., Any]:
    import prefect_lean as lean

    engine, kind = name.split("-")
    if engine == "threads":
        from prefect.task_runners import ThreadPoolTaskRunner

        threads: Any = lean.LeanThreadPoolTaskRunner if kind == "lean" else ThreadPoolTaskRunner
        return lambda **more: threads(**{"max_workers": 2} | more)
    if engine == "processes":
        from prefect.task_runners import ProcessPoolTaskRunner

        processes: Any = lean.LeanProcessPoolTaskRunner if kind == "lean" else ProcessPoolTaskRunner
        return lambda **more: processes(**{"max_workers": 2} | more)
    if engine == "dask":
        from prefect_dask import DaskTaskRunner

        address = request.getfixturevalue("dask_cluster").address
        dask: Any = lean.LeanDaskTaskRunner if kind == "lean" else DaskTaskRunner
        return lambda **more: dask(**{"address": address} | more)
    from prefect_ray import RayTaskRunner

    # Ray is initialised in this process by then, and a runner without an address uses what it finds.
    request.getfixturevalue("ray_node")
    ray_runner: Any = lean.LeanRayTaskRunner if kind == "lean" else RayTaskRunner
    return lambda **more: ray_runner(**more)


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    """`until(condition)`: the first true value of it."""
    return _until


def _until(condition: Callable[[], Any], what: Callable[[], str] = lambda: "") -> Any:
    deadline = time.monotonic() + LIMIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"Not so within {LIMIT_S:.0f} s. {what()}"
        time.sleep(0.05)
    return found


@pytest.fixture(scope="session")
def recorded(lab_server: Any) -> Callable[..., Any]:
    """`recorded(task_run_id, ready)`: the task run as the API has it, once it has a state and `ready` says so of it."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    def recorded(task_run_id: Any, ready: Callable[[Any], bool]) -> Any:
        seen: list[Any] = [None]

        def look() -> Any:
            # The server lags behind what it is told.
            try:
                seen[0] = client.read_task_run(task_run_id)
            except ObjectNotFound:
                return None
            return seen[0] if seen[0].state and ready(seen[0]) else None

        with get_client(sync_client=True) as client:
            return _until(look, lambda: f"The API has {seen[0] and seen[0].state!r} of task run {task_run_id}.")

    return recorded
