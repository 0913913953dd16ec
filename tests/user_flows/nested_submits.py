from prefect import flow, task


@task
def inner(i):
    return i


@task
def outer(i):
    return inner.submit(i).result() + 1


@flow
def deep():
    return [f.result() for f in outer.map([1, 2])]
