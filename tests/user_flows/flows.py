from prefect import flow, task


@task
def where(i):
    return __name__


@flow
def named_like_the_labs():
    return [future.result() for future in where.map([1, 2])]
