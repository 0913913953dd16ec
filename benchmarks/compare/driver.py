"""The process in which a user's flow runs under one arm: its passes come in by standard input, a line of JSON each.

What the flow leaves behind there (variables of the environment, globals of its modules, a working folder, logging) no
other arm sees, and the lab can end it at any moment with all that it has started.

A process pool imports this module in each of its processes, since it is the main one: so it imports little by itself.
"""

from __future__ import annotations

import json
import pickle
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from runner_lab.benchmarks.measuring.measure import Site

READY, REFUSED = "ready", "refused"
"""Files in its home: there as soon as it can run the flow; why it cannot, as text."""
BEGUN, RETURNED, REPLY = "begun", "returned", "reply"
"""Files of each pass, with its number: the flow is called, it has returned, what came of it."""
PROCESS = "process.json"
"""File in the folder of a profile: CPU seconds of importing the flow's module (`import_s`) and of making a client
of the API (`client_s`); seconds of asking the API for a task run (`request_s`), and of them CPU (`request_cpu_s`)."""
_REQUESTS = 15


def main(order_file: str, home: str) -> None:
    """Set up what the arm runs on, then run the flow as often as it is asked for.

    Args:
        order_file: a pickled `driver_process.Order`.
        home: folder with a short path, removed at the end.
    """
    from runner_lab.runners.isolation.supervised import requests, without_mark

    asked = requests()
    order = pickle.loads(Path(order_file).read_bytes())
    sys.path[:] = order.path
    from runner_lab.benchmarks.compare import user_flow, user_runs
    from runner_lab.benchmarks.measuring import quiescence
    from runner_lab.benchmarks.measuring.measure import error_line
    from runner_lab.records import json_file
    from runner_lab.runners.isolation import guard

    without_mark()
    folder = Path(home)
    with ExitStack() as stack:
        scratch = stack.enter_context(guard.guarded(folder))
        doing = "importing the flow failed"
        try:
            # What Prefect's own import takes is no part of the flow's.
            import_module("prefect.main")
            before_s, before_bytes = time.process_time(), _rss_bytes()
            user = user_flow.again(order.module, order.flow, order.parameters)
            imported_s, imported_bytes = time.process_time() - before_s, max(_rss_bytes() - before_bytes, 0)
            stack.callback(quiescence.send_rest)
            doing = f"the {order.engine.name} cluster did not start"
            site = stack.enter_context(_site(order, scratch))
            if order.profile is not None:
                facts = {
                    "import_s": imported_s,
                    "import_bytes": imported_bytes,
                    "client_s": _client_s(),
                    **_request_s(),
                }
                _first_flow()
                facts["base_bytes"] = _rss_bytes()
                (Path(order.profile) / PROCESS).write_text(json.dumps(facts))
        except Exception as error:
            traceback.print_exc()
            json_file.write_whole(folder / REFUSED, f"{doing}: {error_line(error)}".encode())
            return
        json_file.write_whole(folder / READY, b"")
        for request in asked:
            number = request["number"]

            def mark(name: str, number: int = number) -> None:
                (folder / f"{name}-{number}").touch()

            wanted = request["measured"], request["judged"]
            passed = user_runs.run_pass(order.arm, site, user, *wanted, mark, order.profile)
            json_file.write_whole(folder / f"{REPLY}-{number}", pickle.dumps(passed))


def _rss_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def _client_s() -> float:
    from prefect.client.orchestration import get_client

    def took_s() -> float:
        before_s = time.process_time()
        get_client()
        return time.process_time() - before_s

    return min(took_s() for _ in range(3))


def _request_s() -> dict[str, float]:
    from uuid import uuid4

    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    taken: list[tuple[float, float]] = []
    with get_client(sync_client=True) as client:
        for _ in range(_REQUESTS):
            before_s, before_cpu_s = time.monotonic(), time.thread_time()
            with suppress(ObjectNotFound):
                client.read_task_run(uuid4())
            taken.append((time.monotonic() - before_s, time.thread_time() - before_cpu_s))
    # The first ones pay for the connection.
    seconds, cpu_s = (sorted(each)[_REQUESTS // 2] for each in zip(*taken, strict=True))
    return {"request_s": seconds, "request_cpu_s": cpu_s}


def _first_flow() -> None:
    """One of the lab's own: what the first flow of a process pays for is not what a profile is to show."""
    from prefect import flow, task

    @task
    def nothing() -> None:
        """Nothing."""

    @flow(name="runner-lab-first")
    def first() -> None:
        nothing.submit().wait()

    first()


@contextmanager
def _site(order: Any, scratch: Path) -> Iterator[Site]:
    """What the arm runs on, with the cluster up that it shares with none."""
    from runner_lab.benchmarks.measuring.measure import Site
    from runner_lab.runners.engine import Cluster

    def site(cluster: Cluster) -> Site:
        return Site(order.server, order.engine, cluster, scratch, order.limits.cell_s, order.limits.quiet_s)

    if order.engine.shares(order.arm):
        with order.engine.cluster(order.arm.workers, order.settings, scratch) as cluster:
            yield site(cluster)
    else:
        yield site(order.engine.own_cluster(order.arm))


if __name__ == "__main__":
    main(*sys.argv[1:])
