import os

from prefect import flow, task


@task
def read(name):
    return os.environ.get(name)


@flow
def sets_environment():
    os.environ["SET_BY_THE_FLOW"] = "word"
    return [read.submit("SET_BY_THE_FLOW").result() for _ in range(2)]
