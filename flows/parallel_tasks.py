"""Tasks that run at the same time: `.submit`, `.result` and `.map`, and the time they save over direct calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, sleep

from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner

NAMES = ("Ada", "Blaise", "Charles", "Dennis")


@dataclass(frozen=True)
class Timed:
    """What one way to run the tasks gave, and how long it took, seconds."""

    greetings: list[str]
    seconds: float


@task
def create_greeting(name: str, seconds: float) -> str:
    """Wait, as for an answer from elsewhere."""
    sleep(seconds)
    return f"hello {name}"


@flow(task_runner=ThreadPoolTaskRunner(max_workers=len(NAMES)), log_prints=True)  # type: ignore[arg-type]
def parallel_tasks(names: tuple[str, ...] = NAMES, seconds: float = 0.5) -> dict[str, Timed]:
    """Run a task for each name three times over: by direct calls, by `.submit`, by `.map`."""
    ways = {
        "direct calls": _timed(lambda: [create_greeting(name, seconds) for name in names]),
        ".submit": _timed(lambda: _submitted(names, seconds)),
        ".map": _timed(lambda: create_greeting.map(names, seconds=seconds).result()),
    }
    for way, timed in ways.items():
        print(f"{way}: {len(timed.greetings)} greetings in {timed.seconds:.1f} s")
    direct_s, map_s = ways["direct calls"].seconds, ways[".map"].seconds
    print(f".map saved {direct_s - map_s:.1f} s, {direct_s / map_s:.1f} times as fast")
    return ways


def _submitted(names: tuple[str, ...], seconds: float) -> list[str]:
    # All are submitted before the first is waited for: `.result()` in the same line would run them one by one.
    futures = [create_greeting.submit(name, seconds) for name in names]
    return [future.result() for future in futures]


def _timed(way: Callable[[], list[str]]) -> Timed:
    begun = monotonic()
    return Timed(way(), monotonic() - begun)


if __name__ == "__main__":
    parallel_tasks()
