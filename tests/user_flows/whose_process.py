import multiprocessing

from prefect import flow, task


@task
def whose():
    return "main" if multiprocessing.parent_process() is None else "worker"


@flow
def whose_process():
    return whose.submit().result()
