"""A flow whose parameter has a position only."""

from prefect import flow


@flow
def by_place(n: int, /) -> int:
    return n
