from prefect import flow


@flow
def eager():
    return 1


result = eager()
