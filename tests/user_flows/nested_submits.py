from prefect import flow, task


@task
def inner(i):
    return i


@task
def outer(i):
    return inner.submit(i).result() + 1


@flow
def deep():
    # So many that two of them hold both slots at some moment, however quick the first one is.
    return [f.result() for f in outer.map(range(20))]
