from prefect import flow, task


@task
def listing():
    return [1, 2]


@task
def work(i):
    return i * i


@flow
def half():
    slow = work.with_options(retries=2)
    return [f.result() for f in [slow.submit(i) for i in listing()]]
