from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner


@task
def say(word):
    print(word)


@flow(task_runner=ThreadPoolTaskRunner(max_workers=8), timeout_seconds=60)
def loud():
    say.map(["a", "b"]).wait()
