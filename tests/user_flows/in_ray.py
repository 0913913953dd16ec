import time

from prefect import flow, task
from prefect_ray import RayTaskRunner


@task
def compute(i: int) -> int:
    end = time.thread_time() + 0.1
    while time.thread_time() < end:
        sum(range(200))
    return i


@flow(task_runner=RayTaskRunner(init_kwargs={"num_cpus": 2, "include_dashboard": False}))
def in_ray(n: int = 4) -> int:
    return sum(compute.map(range(n)).result())
