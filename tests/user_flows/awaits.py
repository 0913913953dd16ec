"""Async tasks that are called and awaited, and handed to no runner."""

import asyncio

from prefect import flow, task


@task
async def ask(i: int) -> int:
    await asyncio.sleep(0.3)
    return i


@flow
async def together(n: int = 4) -> int:
    return sum(await asyncio.gather(*(ask(i) for i in range(n))))


@flow
async def one_by_one(n: int = 3) -> int:
    return sum([await ask(i) for i in range(n)])
