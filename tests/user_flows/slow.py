import time

from prefect import flow, task


@task
def wait(seconds):
    time.sleep(seconds)


@flow
def slow():
    for _ in range(60):
        wait.submit(0.5).wait()
