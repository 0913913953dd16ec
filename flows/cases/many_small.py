"""Thousands of short tasks, some of which fail at first, some of which have been done before: Prefect is the work."""

from __future__ import annotations

import zlib

from prefect import flow, runtime, task
from prefect.cache_policies import INPUTS, RUN_ID

FAILS = 25
"""One article of so many has no price at the first attempt."""


class NoPriceError(RuntimeError):
    """An article that has no price yet."""


# What is cached is for this flow run alone.
@task(retries=2, retry_delay_seconds=0.1, cache_policy=INPUTS + RUN_ID, persist_result=True)
def look_up(article: int) -> int:
    """The price of an article, in cents.

    Raises:
        NoPriceError: at the first attempt, where the article is one of those.
    """
    if article % FAILS == 0 and runtime.task_run.run_count == 1:
        raise NoPriceError(f"article {article} has no price yet")
    return zlib.crc32(b"%d" % article) % 10_000


@task(retries=2, retry_delay_seconds=0.1, cache_policy=INPUTS + RUN_ID, persist_result=True)
def look_up_all(articles: list[int]) -> list[int]:
    """The prices of several articles, in one task: at a failure all of them are asked for again."""
    return [look_up.fn(article) for article in articles]


@flow
def many_small(tasks: int = 3000, batch: int = 1) -> dict[str, int]:
    """`tasks` articles, `batch` of them to a task; each third one asks for what an earlier one has asked for."""
    articles = [number if number % 3 else number // 6 for number in range(tasks)]
    if batch == 1:
        prices = look_up.map(articles).result()
    else:
        parts = [articles[at : at + batch] for at in range(0, len(articles), batch)]
        prices = [price for part in look_up_all.map(parts).result() for price in part]
    return {"tasks": len(prices), "cents": sum(prices)}


if __name__ == "__main__":
    print(many_small())
