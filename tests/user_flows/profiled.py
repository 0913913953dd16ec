import hashlib
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner


def busy(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(200))


@task
def wait(i: int) -> int:
    time.sleep(0.2)
    return i


@task
def compute(i: int) -> bytes:
    busy(0.1)
    return bytes(1_000_000)


@task
def digest(data: bytes) -> str:
    text = b"x" * 20_000_000
    end = time.thread_time() + 0.1
    while time.thread_time() < end:
        hashlib.sha256(text).digest()
    return hashlib.sha256(data).hexdigest()


@task(retries=1, retry_delay_seconds=0.3)
def flaky(seen: list[int] = []) -> str:  # noqa: B006
    seen.append(1)
    if len(seen) == 1:
        raise ValueError("once")
    return "done"


@task
def check(names: list[str]) -> int:
    return len(set(names))


@flow
def mixed(n: int = 4, token: str = "") -> int:
    waiting = wait.map(range(n))
    digests = digest.map(compute.map(range(n)))
    # Longer than the tasks: a pause that ends as the last of them does could be a wait for it.
    time.sleep(2)
    again = flaky.submit().result()
    waiting.result()
    return check([again, *digests.result()])


@task
def helped() -> int:
    """Computes in threads of its own, outside of the GIL."""
    text = b"x" * 20_000_000

    def hashes() -> None:
        end = time.thread_time() + 0.3
        while time.thread_time() < end:
            hashlib.sha256(text).digest()

    with ThreadPoolExecutor(2) as pool:
        return len([pool.submit(hashes) for _ in range(2)])


@flow
def with_helpers() -> int:
    return helped.submit().result()


kept: list[ProcessPoolExecutor] = []
"""Processes that outlive the task that has made them."""


@task
def keeps_processes() -> int:
    if not kept:
        kept.append(ProcessPoolExecutor(2, mp_context=get_context("fork")))
    return len(list(kept[0].map(busy, [0.8, 0.8])))


@task
def runs_a_program(i: int) -> None:
    program = "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass"
    subprocess.run([sys.executable, "-c", program], check=True)


@flow
def with_children() -> None:
    for _ in range(3):
        keeps_processes()
    runs_a_program.map(range(6)).wait()


@flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
def in_processes(n: int = 4) -> int:
    return len(digest.map(compute.map(range(n))).result())


@flow
def crowd(file: str, n: int = 24) -> int:
    """Leaves a line in a file each time it runs."""
    with open(file, "a") as lines:
        lines.write("ran\n")
    return len(compute.map(range(n)).result())


@task
def longest(parts: dict[str, list[list[int]]], names: list[str]) -> int:
    return max(len(part) for part in parts["parts"]) + len(names)


@task(persist_result=True)
def numbers(n: int) -> list[int]:
    return list(range(n))


@flow
def takes_lists(n: int = 20_000) -> int:
    parts = [numbers.submit(n) for _ in range(2)]
    return longest.submit({"parts": parts}, ["a"] * n).result()


@flow
def half_way(n: int = 3) -> None:
    wait.map(range(n)).result()
    raise RuntimeError("the bucket is gone")


@flow
def never_ends() -> None:
    wait.submit(1).result()
    time.sleep(3600)


@flow
def loud(lines: int = 20_000) -> int:
    for i in range(lines):
        print(f"{i} {'x' * 100}")
    return len(wait.map(range(2)).result())


@flow
def growing(start: int = 3) -> int:
    """The number of its tasks depends on what the first ones return."""
    first = wait.map(range(start)).result()
    return len(wait.map(range(sum(first))).result())


class Shop:
    @task
    def price(self, i: int) -> int:
        time.sleep(0.1)
        return i

    @flow
    def total(self) -> int:
        return sum(self.price.submit(i).result() for i in range(3))


shop = Shop()
