from prefect import flow, task


@task
def square(i):
    return i * i


@flow
def squares():
    return square.map([1, 2, 3])
