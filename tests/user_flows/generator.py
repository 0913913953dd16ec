from prefect import flow, task


@task
def chunk(i):
    return [i] * i


@flow
def chunks(n: int = 3):
    for future in chunk.map(range(n)):
        yield future.result()
