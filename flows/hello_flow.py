"""The same functions in a flow: one decorator, and each run is recorded."""

from __future__ import annotations

from prefect import flow


def create_hello() -> str:
    return "hello"


def create_world() -> str:
    return "world"


def greet(hello: str, world: str) -> str:
    return f"{hello} {world}"


@flow(log_prints=True)
def hello_flow() -> str:
    """Join two words. The functions are called as they are: the server records the flow run, and no run of theirs."""
    message = greet(create_hello(), create_world())
    print(message)
    return message


if __name__ == "__main__":
    hello_flow()
