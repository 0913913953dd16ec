"""The graph's wiring, written once over a `submit` callable: under Prefect, by direct calls, or on a bare engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from runner_lab.flows.graph import bodies
from runner_lab.records.graph import PIECE, GraphSpec, said, summarise


@dataclass(frozen=True)
class Nodes:
    """The four callables of the graph: plain functions, or the Prefect tasks made from them."""

    hello: Any = bodies.hello
    world: Any = bodies.world
    greet: Any = bodies.greet
    gather: Any = bodies.gather


class Submitter(Protocol):
    """How one arm runs a callable. Handles are whatever the engine gives back; they may be passed as arguments."""

    def submit(self, node: Any, *args: Any) -> Any: ...

    def on_done(self, handle: Any, callback: Callable[[], None]) -> None: ...

    def result(self, handle: Any) -> Any: ...


class DirectCalls:
    """No runner: each task is called, and done when the call returns."""

    def submit(self, node: Any, *args: Any) -> Any:
        return node(*args)

    def on_done(self, handle: Any, callback: Callable[[], None]) -> None:
        callback()

    def result(self, handle: Any) -> Any:
        return handle


class PrefectSubmits:
    """`.submit` on the flow's task runner."""

    def __init__(self, keep: bool = True) -> None:
        """
        Args:
            keep: what was submitted, to say why a task with an upstream never began.
        """
        self._keep = keep
        self._handles: list[Any] = []

    def submit(self, node: Any, *args: Any) -> Any:
        handle = node.submit(*args)
        if self._keep:
            self._handles.append(handle)
        return handle

    def on_done(self, handle: Any, callback: Callable[[], None]) -> None:
        handle.add_done_callback(lambda _: callback())

    def result(self, handle: Any) -> Any:
        from prefect.exceptions import UnfinishedRun

        try:
            return handle.result()
        except UnfinishedRun:
            # A task whose upstream failed stays pending and says no more than that: the upstream has the reason.
            for upstream in self._handles:
                if upstream.state.is_failed() or upstream.state.is_crashed():
                    upstream.result()
            raise


class Outcome:
    """What one pass over the graph gave, and the driver's clock (`time.monotonic`, seconds) on the way.

    submits_s: before the submit of each hello, by lane; of each link of a chain.
    returns_s: after the submit of each link of a chain.
    seen_s: when the driver saw each greeting done, by lane; each link of a chain.
    """

    # Not a dataclass: Prefect looks for futures in what a flow returns, and goes through the fields of a dataclass down
    # to the last number. That is time of the flow, and fails where a late callback adds to `seen_s` meanwhile.
    def __init__(self, begun_s: float = 0.0) -> None:
        self.result = ""
        self.flow_run_id: str | None = None
        self.begun_s = begun_s
        self.submitted_s = 0.0
        self.done_s = 0.0
        self.submits_s: list[float] = []
        self.returns_s: list[float] = []
        self.seen_s: dict[int, float] = {}

    def see(self, lane: int) -> None:
        self.seen_s[lane] = time.monotonic()


def of_hello(spec: GraphSpec, lane: int, ledger: str) -> tuple[Any, ...]:
    """The arguments of a hello."""
    return lane, spec.work, spec.payload_bytes, spec.failures, ledger, spec.batch


def wire(spec: GraphSpec, ledger: str, nodes: Nodes, submitter: Submitter) -> Outcome:
    """Run the graph: all hellos, all worlds, all greetings, as `.map` would submit them, then the gather."""
    outcome = Outcome(begun_s=time.monotonic())
    hellos = []
    for lane in range(spec.width):
        outcome.submits_s.append(time.monotonic())
        hellos.append(submitter.submit(nodes.hello, *of_hello(spec, lane, ledger)))
    worlds = [submitter.submit(nodes.world, lane, ledger) for lane in range(spec.width)]
    greetings = []
    for lane, (hello, world) in enumerate(zip(hellos, worlds, strict=True)):
        greeting = submitter.submit(nodes.greet, hello, world, ledger)
        submitter.on_done(greeting, partial(outcome.see, lane))
        greetings.append(greeting)
    gathered = submitter.submit(nodes.gather, ledger, *greetings)
    outcome.submitted_s = time.monotonic()
    outcome.result = submitter.result(gathered)
    outcome.done_s = time.monotonic()
    return outcome


def _submit_hellos(
    spec: GraphSpec, lanes: Sequence[int], ledger: str, nodes: Nodes, submitter: Submitter, outcome: Outcome
) -> list[Any]:
    """Submit the hellos of these lanes, and note when."""
    hellos = []
    for lane in lanes:
        outcome.submits_s.append(time.monotonic())
        hello = submitter.submit(nodes.hello, *of_hello(spec, lane, ledger))
        submitter.on_done(hello, partial(outcome.see, lane))
        hellos.append(hello)
    outcome.submitted_s = time.monotonic()
    return hellos


def wire_map(spec: GraphSpec, ledger: str, nodes: Nodes, submitter: Submitter) -> Outcome:
    """Run independent tasks: submit them one after another, as `.map` would, then read their results."""
    outcome = Outcome(begun_s=time.monotonic())
    hellos = _submit_hellos(spec, range(spec.width), ledger, nodes, submitter, outcome)
    results = [submitter.result(hello) for hello in hellos]
    outcome.done_s = time.monotonic()
    outcome.result = summarise(said(*result) for result in results)
    return outcome


def wire_pieces(spec: GraphSpec, ledger: str, nodes: Nodes, submitter: Submitter) -> Outcome:
    """Run independent tasks a piece at a time: submit it, read its results, and let go of its futures."""
    outcome = Outcome(begun_s=time.monotonic())

    def greetings() -> Iterator[str]:
        for first in range(0, spec.width, PIECE):
            lanes = range(first, min(first + PIECE, spec.width))
            hellos = _submit_hellos(spec, lanes, ledger, nodes, submitter, outcome)
            # Dropped one by one: this list would else live until the next piece has been submitted.
            while hellos:
                yield said(*submitter.result(hellos.pop(0)))

    outcome.result = summarise(greetings())
    outcome.done_s = time.monotonic()
    return outcome


def wire_chain(
    spec: GraphSpec, ledger: str, node: Any, submitter: Submitter, mark: Callable[[int], object] = lambda lane: None
) -> Outcome:
    """Run a chain. `mark` is called before each submit, outside its time, and what it gives travels with the call."""
    outcome = Outcome(begun_s=time.monotonic())
    handle: Any = ""
    for lane in range(spec.width):
        marked = mark(lane)
        outcome.submits_s.append(time.monotonic())
        handle = submitter.submit(node, handle, lane, ledger, marked)
        outcome.returns_s.append(time.monotonic())
        # Told that it is done, and no more: within a graph a result goes to the next task, not through the driver, and
        # a future that has not been asked yet may have to ask the server for its state.
        done = threading.Event()
        submitter.on_done(handle, done.set)
        done.wait()
        outcome.see(lane)
    outcome.submitted_s = outcome.returns_s[-1]
    outcome.result = submitter.result(handle)
    outcome.done_s = time.monotonic()
    return outcome
