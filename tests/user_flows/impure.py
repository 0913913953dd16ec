import random

from prefect import flow, task


@task
def draw():
    return random.random()


@flow
def lottery():
    return draw.submit().result()
