"""A task whose result is kept: for a minute, the same input gives it back without running the task."""

from __future__ import annotations

import time
from datetime import timedelta

from prefect import flow, task
from prefect.cache_policies import INPUTS, TASK_SOURCE


# By default a result is found again within one flow run only: the default key has the run in it as well.
@task(cache_policy=INPUTS + TASK_SOURCE, cache_expiration=timedelta(minutes=1), persist_result=True, log_prints=True)
def create_greeting(name: str) -> str:
    """What takes a second, and is worth keeping."""
    print("working")
    time.sleep(1)
    return f"hello {name}"


@flow(log_prints=True)
def cached_task(name: str = "world", refresh: bool = False) -> str | None:
    """Greet; the name of the task's final state says whether its body ran: Completed or Cached.

    Args:
        name: the input; another one has another result.
        refresh: run the task even if its result is known, and keep the new one.
    """
    state = create_greeting.with_options(refresh_cache=refresh)(name, return_state=True)
    print(f"{state.result()}: {state.name}")
    return state.name


if __name__ == "__main__":
    cached_task()
    cached_task()
    cached_task(refresh=True)
