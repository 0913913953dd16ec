from prefect import flow, task


@task
def divide(a, b):
    return a / b


@task
def show(value):
    return str(value)


@flow
def breaks():
    broken = divide.submit(1, 0)
    show.submit(broken)
    show.submit("fine")
    return broken.result()


@flow
def breaks_before():
    return show.submit(divide.submit(1, 0)).result()
