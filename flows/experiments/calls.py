"""The calls that the flows of `equivalence` are asked for, and what they see of them. Nothing here imports Prefect.

An experiment imports these before the environment of Prefect is set, as it must not import the flows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

WAIT_LIMIT_S = 240.0
"""For what another process does first; nothing is judged by it."""

Lock = Literal["none", "memory", "file"]
Condition = Literal["always", "transient", "object"]


@dataclass(frozen=True)
class Seen:
    """What the flow saw of one task run.

    state: name of its final state, such as `Cached`.
    value: its result; None where it failed.
    error: type of the exception it failed with.
    """

    state: str
    value: Any
    error: str
    task_run_id: str


@dataclass(frozen=True)
class CachedCall:
    """One call of a cached task.

    lane: its input: calls of one lane have one key.
    in_run: the default cache policy, which has the flow run in the key, instead of inputs and source.
    storage: folder for results; None leaves it to Prefect.
    expires_s: seconds after which the result is not to be used.
    after: a file that must be there before the call is made.
    pause_s: seconds to wait before the call.
    """

    lane: int = 0
    in_run: bool = False
    storage: str | None = None
    expires_s: float | None = None
    refresh: bool = False
    after: str | None = None
    pause_s: float = 0.0


@dataclass(frozen=True)
class Try:
    """One call of a task that fails.

    failures: executions that fail, of this lane, before one does not.
    permanent: by an error that `transient` does not try again.
    """

    lane: int
    failures: int
    retries: int
    delays_s: tuple[float, ...] = ()
    jitter: float | None = None
    condition: Condition | None = None
    permanent: bool = False
