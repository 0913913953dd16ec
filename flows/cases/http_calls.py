"""Ask a web service for many orders, one call each: nearly all of the time is waiting for answers."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from prefect import flow, task

from .services import order_service


# The service speaks plain HTTP. Without `verify=False` each call would load the certificates: 30 ms of CPU for nothing.
@task(retries=2, retry_delay_seconds=1)
def fetch_amount(url: str) -> int:
    """What one order is worth, in cents."""
    answer = httpx.get(url, timeout=60, verify=False)
    answer.raise_for_status()
    return answer.json()["amount"]


@task(retries=2, retry_delay_seconds=1)
async def fetch_amount_async(url: str) -> int:
    """The same, waited for by an event loop."""
    async with httpx.AsyncClient(timeout=60, verify=False) as client:
        answer = await client.get(url)
    answer.raise_for_status()
    return answer.json()["amount"]


@flow
def http_calls(calls: int = 300, slowest_ms: int = 500) -> dict[str, int]:
    """`calls` orders; an answer takes 50 to `slowest_ms` milliseconds."""
    with order_service(slowest_ms) as address:
        amounts = fetch_amount.map([f"{address}/orders/{number}" for number in range(calls)]).result()
    return {"orders": len(amounts), "cents": sum(amounts)}


@flow
async def http_calls_async(calls: int = 300, slowest_ms: int = 500, gather: bool = False) -> dict[str, int]:
    """The same flow with `async def`; `gather` awaits the tasks together and submits none."""
    with order_service(slowest_ms) as address:
        urls = [f"{address}/orders/{number}" for number in range(calls)]
        amounts: list[Any]
        if gather:
            amounts = await asyncio.gather(*map(fetch_amount_async, urls))
        else:
            futures = [fetch_amount_async.submit(url) for url in urls]
            amounts = [future.result() for future in futures]
    return {"orders": len(amounts), "cents": sum(amounts)}


if __name__ == "__main__":
    print(http_calls())
