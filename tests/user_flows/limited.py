"""Flows that take slots of limits which their author's Prefect server has."""

import asyncio
import time

from prefect import flow, task
from prefect.concurrency.asyncio import concurrency as async_concurrency
from prefect.concurrency.sync import concurrency, rate_limit


@task
def query(i: int) -> int:
    with concurrency("db", occupy=2):
        time.sleep(0.2)
    return i


@task
def call(i: int) -> int:
    rate_limit("api")
    return i


@task(tags=["warehouse"])
def load(i: int) -> int:
    time.sleep(0.1)
    return i


@task
async def ask(i: int) -> int:
    async with async_concurrency(["model"]):
        await asyncio.sleep(0.1)
    return i


@flow
def limited() -> int:
    queried = query.map(range(3)).result()
    return sum(call.map(queried).result()) + sum(load.map(range(4)).result())


@flow
async def asking() -> int:
    return sum(await asyncio.gather(*(ask(i) for i in range(3))))


@flow
def strict() -> None:
    with concurrency("licence", strict=True):
        pass
