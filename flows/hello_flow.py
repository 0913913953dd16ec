"""The same functions in a flow: one decorator, and each run is recorded."""

from __future__ import annotations

from prefect import flow

from runner_lab.flows.hello_world import create_hello, create_world, greet


@flow(log_prints=True)
def hello_flow() -> str:
    """Join two words. The functions are called as they are: the server knows of the flow run, and not of them."""
    message = greet(create_hello(), create_world())
    print(message)
    return message


if __name__ == "__main__":
    hello_flow()
