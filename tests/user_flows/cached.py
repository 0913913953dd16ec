from prefect import flow, task
from prefect.cache_policies import INPUTS


@task(cache_policy=INPUTS, persist_result=True)
def expensive(i):
    return i


@flow
def saving():
    first = expensive.submit(1).result()
    return first + expensive.submit(1).result()
