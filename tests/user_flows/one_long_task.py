import time

from prefect import flow, task


@task
def nap(seconds):
    time.sleep(seconds)


@flow
def one_long_task(seconds: float = 120):
    nap.submit(seconds).result()
