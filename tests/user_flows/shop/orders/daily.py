from prefect import flow, task

from ..prices import price


@task
def total(item: str) -> int:
    return price(item)


@flow
def daily(items: list[str]):
    return sum(future.result() for future in total.map(items))
