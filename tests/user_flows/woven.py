"""Flows whose tasks are handed on in every way but one after another."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from prefect import flow, task
from prefect_lean import LeanThreadPoolTaskRunner


def busy(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(200))


@task
def load(i: int) -> int:
    time.sleep(0.5)
    return i


@task
def clean(i: int) -> int:
    busy(0.1)
    return i


@task
def prepare(i: int) -> int:
    return clean(i)


@task
def count(i: int) -> int:
    return clean.submit(i).result()


@task
def report() -> str:
    return "done"


@flow(task_runner=LeanThreadPoolTaskRunner(max_workers=8))
def woven() -> list[int]:
    first, second = load.submit(1), load.submit(2)
    report.submit(wait_for=first)
    report.submit(wait_for=iter([first, second]))
    with ThreadPoolExecutor(4) as executor:
        loaded = list(executor.map(load, range(8)))
    return [*loaded, *prepare.map(range(4)).result(), *count.map(range(2)).result()]


@task
async def fetch(i: int) -> int:
    await asyncio.sleep(0.5)
    return i


@task
async def parse(i: int) -> int:
    busy(0.2)
    return i


@task
async def offload(i: int) -> None:
    await asyncio.to_thread(busy, 0.2)


@task
def pages() -> Iterator[int]:
    for i in range(4):
        busy(0.1)
        yield i


@flow
async def looped() -> int:
    fetched = await asyncio.gather(*(fetch(i) for i in range(10)))
    for i in range(4):
        await parse(i)
    await asyncio.gather(*(offload(i) for i in range(3)))
    for i in pages():
        load.submit(i).result()
    return sum(fetched)
