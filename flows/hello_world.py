"""Plain Python: two functions, and a third that joins what they give. Nothing here knows Prefect."""

from __future__ import annotations


def create_hello() -> str:
    return "hello"


def create_world() -> str:
    return "world"


def greet(hello: str, world: str) -> str:
    return f"{hello} {world}"


def hello_world() -> str:
    return greet(create_hello(), create_world())


if __name__ == "__main__":
    print(hello_world())
