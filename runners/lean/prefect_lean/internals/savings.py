"""What the lean runners save, each by itself, and the check that what it leans on is still what was tested.

Where it is not, in driver or worker, that saving is lost there and Prefect's own way is taken, with one warning.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import prefect

from .pins import PINS, Pins
from .source import source_digest

WITHOUT = "PREFECT_LEAN_WITHOUT"
"""The environment variable that names savings to do without, with commas between them."""


def moved(pins: Pins) -> tuple[str, ...]:
    """Those of the internals that are none of what was tested."""
    return tuple(name for name, tested in pins.items() if source_digest(name) not in tested)


class Saving:
    """One thing that the lean runners do in another way than Prefect.

    Args:
        name: As `PREFECT_LEAN_WITHOUT` has it.
        instead: What happens, and what that costs, where it is lost.
        pins: The internals that it leans on as tested. By default those of `PINS` under its name.
        needs: Savings that it does not work without.
        package: What the internals are of.
    """

    def __init__(
        self,
        name: str,
        instead: str,
        pins: Pins | None = None,
        needs: tuple[Saving, ...] = (),
        package: str = f"Prefect {prefect.__version__}",
    ) -> None:
        self.name = name
        self.instead = instead
        self._pins = PINS[name] if pins is None else pins
        self._needs = needs
        self._package = package
        self._gone: tuple[str, ...] = ()
        self._warned = threading.Event()

    def on(self) -> bool:
        """Whether it is to be had in this process. Where it is lost, say so once."""
        if not self._wanted:
            return False
        if names := self.moved:
            self._warn(names)
        return not names

    def gone(self, name: str) -> None:
        """A name that it imports is not there."""
        self._gone += (name,)

    @property
    def moved(self) -> tuple[str, ...]:
        """What it, or a saving that it needs, leans on and is not as tested."""
        needed = [name for saving in self._needs for name in saving.moved]
        return tuple(dict.fromkeys([*needed, *self._gone, *self._moved]))

    @cached_property
    def _moved(self) -> tuple[str, ...]:
        return moved(self._pins)

    @cached_property
    def _wanted(self) -> bool:
        if self.name in os.environ.get(WITHOUT, "").split(","):
            return False
        return all(saving._wanted for saving in self._needs)

    def _warn(self, names: tuple[str, ...]) -> None:
        if self._warned.is_set():
            return
        self._warned.set()
        warnings.warn(
            f"{self._package} differs from what the lean runners were tested with, in {', '.join(names)}."
            f" The saving '{self.name}' is lost: {self.instead} Results are the same.",
            RuntimeWarning,
            stacklevel=3,
        )


@contextmanager
def imports_of(*savings: Saving) -> Iterator[None]:
    """What is imported within may be gone from Prefect: that costs these savings."""
    try:
        yield
    except (ImportError, AttributeError) as gone:
        for saving in savings:
            saving.gone(str(gone))


_STOCK_PATH = "tasks take the way of the stock runner, at its cost."

# What a task is sent with, called with and recorded by. No saving by itself: without it there are no remote ones.
CALLS = Saving("calls", _STOCK_PATH)
CONTEXT = Saving("context", "every submit dumps the whole context, and every task rebuilds it.")
SETTINGS = Saving("settings", "every submit dumps them, and every task rebuilds them.", needs=(CONTEXT,))
FLOW_RUN = Saving("flow-run", "every submit dumps its context, and every task rebuilds it.", needs=(CONTEXT,))
BLOCKS = Saving("blocks", "every process imports all integrations of Prefect's that are installed.", needs=(CONTEXT,))
CLIENTS = Saving("clients", "every task makes HTTP clients of its own and loads the CA bundle.", needs=(CONTEXT,))
EVENTS = Saving("events", "workers send events to the API that they sent the first ones to.")
# Prefect 3.9 takes what is queued already without a hand-over. It does not wait for more to come, as a burst does.
BURSTS = Saving("bursts", "every event is handed from thread to thread to thread.", needs=(EVENTS,))
RELATED = Saving("related", "what is related to a task is gathered for each of its events.", needs=(EVENTS,))
WINDOW = Saving("window", "events are sent as they come, and a server that is slower loses some.", needs=(EVENTS,))
FINAL = Saving("final", "every state is recorded.", needs=(EVENTS,))
MENDED = Saving("mended", "overlapping tasks may lose lines that `log_prints` takes, and some dataclasses fail.")
RESULTS = Saving("results", "a task whose result does not pickle is recorded as Completed at first.")
PATIENCE = Saving("patience", "a flow whose server is gone waits for it for minutes at its end.")
FUTURES = Saving("futures", "every task asks the API for the states of its upstream tasks.")
POOL = Saving("pool", _STOCK_PATH, needs=(CALLS,))

__all__ = [
    "BLOCKS",
    "BURSTS",
    "CALLS",
    "CLIENTS",
    "CONTEXT",
    "EVENTS",
    "FINAL",
    "FLOW_RUN",
    "FUTURES",
    "MENDED",
    "PATIENCE",
    "POOL",
    "RELATED",
    "RESULTS",
    "SETTINGS",
    "WINDOW",
    "Saving",
    "imports_of",
    "moved",
]
