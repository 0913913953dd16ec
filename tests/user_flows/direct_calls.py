from prefect import flow, task


@task
def fetch(i):
    return i


@task
def clean(i):
    return i + 1


def one(i):
    return clean(fetch(i))


@flow
def pipeline():
    total = 0
    for i in range(2):
        total += one(i)
    return fetch(total)
