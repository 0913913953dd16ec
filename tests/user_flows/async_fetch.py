import asyncio

from prefect import flow, task


@task
async def fetch(page: int) -> dict:
    await asyncio.sleep(0)
    return {"page": page, "items": list(range(page))}


@flow
async def crawl(pages: int = 3):
    futures = [fetch.submit(page) for page in range(pages)]
    return [future.result() for future in futures]
