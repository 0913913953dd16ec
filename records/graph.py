"""What every arm runs: a graph of the lab's own, with what must come out of it, or a user's flow in its place.

The fan-out of the Prefect tutorial, made wide. For each of `width` lanes a `create_hello` and a `create_world`,
joined by a `greet`; one `gather` over all greetings at the end: 3 x width + 1 tasks. Each hello carries the work
and the payload.

The `map` is what most people have: `width` independent tasks, submitted one after another as `.map` does, their results
read by the driver. Each is a hello, with its work and its payload.

`pieces` is a map for very many tasks: it submits `PIECE` of them, reads their results, and drops both before it submits
the next.

The `chain` is another shape: `width` empty tasks one at a time, each submitted with the one before as its argument
once the driver knows that one done. No task ever waits for a slot or an upstream, so what a task takes is its own.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from runner_lab.records.validation import Count, Number

Variant = Literal["plain", "map", "pieces", "cached", "retrying", "chain"]
WorkKind = Literal["none", "sleep", "spin", "crunch"]
WorkName = Literal["io", "cpu", "cpu-no-gil", "none", "sleep", "spin", "crunch"]
"""What users call these kinds."""

PIECE = 1000
"""Futures that `pieces` holds at a time, at most."""


@dataclass(frozen=True)
class Work:
    """What a task's body does for `seconds`.

    kind: `none`; `sleep` (waiting, like I/O); `spin` (CPU in Python, holds the GIL); `crunch` (CPU in C, releases
        the GIL).
    seconds: wall seconds of a `sleep`; CPU seconds of the thread for `spin` and `crunch`, so that contention shows.

    Raises:
        ValueError: an unknown kind, or seconds that are negative or do not fit the kind.
    """

    kind: WorkKind = "none"
    seconds: Number = 0.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(WorkKind):
            raise ValueError(f"work kind {self.kind!r} is not one of {', '.join(get_args(WorkKind))}")
        if not 0 <= self.seconds < float("inf"):
            raise ValueError(f"work seconds {self.seconds!r} must be a number from 0")
        if (self.kind == "none") != (self.seconds == 0):
            raise ValueError(
                f"work {self.kind!r} with {self.seconds:g} seconds: `none` takes 0, the others more than 0"
            )


@dataclass(frozen=True)
class GraphSpec:
    """One graph, and its own expected outcome.

    Args:
        variant: `plain`; `map` (independent tasks); `pieces` (the same, a piece at a time); `cached` (hellos, worlds,
            greetings and the gather have a cache key and persist their results); `retrying` (each hello fails
            `failures` times, then succeeds); `chain` (empty tasks, one at a time).
        width: lanes; tasks of a map or of pieces; links of a chain.
        work: what each hello does, for each of its items.
        payload_bytes: size of what each hello hands to its greet.
        failures: attempts of each hello that raise, for `retrying`.
        retry_delay_s: seconds between two attempts.
        batch: items that one hello does one after another, each of them the work; `width` is items / `batch`.
        asynchronous: the tasks are `async def`, and `sleep` waits without holding its thread. The arm of an event loop
            runs every graph so.

    Raises:
        ValueError: a value out of range.
    """

    variant: Variant = "plain"
    width: Count = 8
    work: Work = field(default_factory=Work)
    payload_bytes: Count = 0
    failures: Count = 0
    retry_delay_s: Number = 0.0
    batch: Count = 1
    asynchronous: bool = False

    def __post_init__(self) -> None:
        if self.variant not in get_args(Variant):
            raise ValueError(f"variant {self.variant!r} is not one of {', '.join(get_args(Variant))}")
        if self.width < 1:
            raise ValueError(f"width {self.width} must be at least 1")
        if self.batch < 1:
            raise ValueError(f"batch {self.batch} must be at least 1")
        if self.payload_bytes < 0:
            raise ValueError(f"payload_bytes {self.payload_bytes} must be at least 0")
        if not 0 <= self.retry_delay_s < float("inf"):
            raise ValueError(f"retry_delay_s {self.retry_delay_s!r} must be a number from 0")
        if self.failures < 0 or (self.variant == "retrying") != (self.failures > 0):
            raise ValueError(
                f"variant {self.variant!r} with {self.failures} failures: only `retrying` fails, at least once"
            )
        if self.variant == "chain" and (self.work.kind != "none" or self.payload_bytes or self.batch > 1):
            raise ValueError("a chain has empty tasks: it takes no work, no payload and no batch")
        if self.variant == "chain" and self.asynchronous:
            raise ValueError("a chain has no asynchronous tasks: its probe cannot read them")

    @property
    def id(self) -> str:
        """Short and stable, for showing: `plain-w16`, `plain-w8-spin100ms`, `plain-w4-1MB`, `retrying-w8-f2`."""
        parts = [self.variant, f"w{self.width}"]
        if self.work.kind != "none":
            parts.append(f"{self.work.kind}{self.work.seconds * 1000:g}ms")
        if size := self.payload_bytes:
            parts.append(f"{size / 1e6:g}MB" if size >= 1e6 else f"{size / 1e3:g}kB")
        if self.failures:
            parts.append(f"f{self.failures}")
        if self.batch != 1:
            parts.append(f"b{self.batch}")
        if self.retry_delay_s:
            parts.append(f"d{self.retry_delay_s:g}s")
        if self.asynchronous:
            parts.append("async")
        return "-".join(parts)

    @property
    def body_s(self) -> float:
        """Seconds of work in one hello."""
        return self.batch * self.work.seconds

    @property
    def tasks(self) -> int:
        return self.width if self.variant in ("map", "pieces", "chain") else 3 * self.width + 1

    @property
    def executions(self) -> int:
        """Bodies that run in one pass with nothing cached, failing attempts included."""
        return self.tasks + self.width * self.failures

    @property
    def result(self) -> str:
        """What must come out: the number of greetings, and a checksum over them and their payloads."""
        if self.variant == "chain":
            return f"link-{self.width - 1}"
        if self.variant in ("map", "pieces"):
            return summarise(said(f"hello-{lane}", payload(lane, self.payload_bytes)) for lane in range(self.width))
        return summarise(greeting(lane, zlib.crc32(payload(lane, self.payload_bytes))) for lane in range(self.width))

    def ideal_s(self, workers: int, cores: int, event_loop: bool = False) -> float:
        """The least that the bodies take: as many rounds as the workers need, CPU work no less than `cores` allow.

        Args:
            event_loop: all run in one: waiting takes one round however many they are, computing one after another.
        """
        if event_loop:
            workers = self.width if self.work.kind in ("none", "sleep") else 1
        rounds_s = math.ceil(self.width / workers) * self.body_s
        if self.work.kind in ("none", "sleep"):
            return rounds_s
        return max(rounds_s, self.width * self.body_s / min(workers, cores))


@dataclass(frozen=True)
class UserFlowSpec:
    """A user's flow in the place of a graph: nobody knows its tasks before it runs.

    Two are the same where their names are: what its source tells may change while a run is interrupted.

    name: as the user named it, with its parameters where some were given.
    file: its file's name.
    direct_calls: `FILE:LINE TASK` of each call of a task that goes past the runner.
    submits: whether its source may hand a task to the runner.
    own_runner: class of the task runner that it declares; empty where that is Prefect's default.
    """

    name: str
    file: str = field(default="", compare=False)
    direct_calls: tuple[str, ...] = field(default=(), compare=False)
    submits: bool = field(default=True, compare=False)
    own_runner: str = field(default="", compare=False)
    variant: Literal["flow"] = "flow"
    # Nobody knows the size of a flow: where cells are put in order or together by size, it has none.
    width: ClassVar[int] = 0
    tasks: ClassVar[int] = 0
    work: ClassVar[Work] = Work()
    payload_bytes: ClassVar[int] = 0
    failures: ClassVar[int] = 0
    batch: ClassVar[int] = 1
    body_s: ClassVar[float] = 0.0
    asynchronous: ClassVar[bool] = False

    @property
    def id(self) -> str:
        return self.name


AnyGraph = Annotated[GraphSpec | UserFlowSpec, Field(discriminator="variant")]


_BLOCK_BYTES = 1 << 18


def payload(lane: int, size_bytes: int) -> bytes:
    """Bytes that no transport can compress away, the same for a lane every time.

    A block is repeated from beyond the reach of usual compressors: to draw every byte took several times as long as
    handing it over, and was measured as that.
    """
    block = hashlib.shake_128(str(lane).encode()).digest(min(size_bytes, _BLOCK_BYTES))
    if size_bytes <= _BLOCK_BYTES:
        return block
    whole, rest = divmod(size_bytes, _BLOCK_BYTES)
    return b"".join((block * whole, block[:rest]))


def said(text: str, data: bytes) -> str:
    """A hello of a map as the driver has it: its text and the checksum of its payload."""
    return f"{text} {zlib.crc32(data):08x}"


def greeting(lane: int, checksum: int) -> str:
    return f"hello-{lane} world-{lane} {checksum:08x}"


def summarise(greetings: Iterable[str]) -> str:
    """Their number, and a checksum over them: none is kept."""
    count = checksum = 0
    for text in greetings:
        checksum = zlib.crc32((f"\n{text}" if count else text).encode(), checksum)
        count += 1
    return f"{count} greetings {checksum:08x}"
