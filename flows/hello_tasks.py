"""The same functions as tasks: now each call is a run of its own, with a state, a duration and logs."""

from __future__ import annotations

from prefect import flow, task


@task
def create_hello() -> str:
    return "hello"


@task
def create_world() -> str:
    return "world"


@task
def greet(hello: str, world: str) -> str:
    return f"{hello} {world}"


@flow(log_prints=True)
def hello_tasks() -> str:
    message = greet(create_hello(), create_world())
    print(message)
    return message


if __name__ == "__main__":
    hello_tasks()
