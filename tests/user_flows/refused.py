from prefect import flow, task


@task
def fails():
    raise KeyError("gone")


@task
def after(value):
    return value


@flow
def refused():
    """Tasks that never come into being, and a flow that goes on."""
    told = []
    for begin in (lambda: after(), lambda: after.submit(), lambda: after.submit(fails.submit()).result()):
        try:
            begin()
        except Exception as error:
            told.append(type(error).__name__)
    return [*told, after.submit(1).result()]
