from prefect import flow


@flow
def one():
    return 1


@flow
def two():
    return 2


def helper():
    return 3
