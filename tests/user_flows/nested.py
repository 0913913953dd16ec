from prefect import flow, task


@task
def inner(i):
    return i


@task
def outer(i):
    return inner(i) + 1


@flow
def nested():
    return [f.result() for f in outer.map([1, 2])]
