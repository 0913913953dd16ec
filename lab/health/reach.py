"""Whether the Prefect API answers where flows and tasks run: here, and on the workers of clusters that run already."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

ANSWER_S = 5
_RAY_ANSWER_S = 60
"""A node that has no worker process yet starts one to answer."""


def answer(api_url: str, limit_s: float) -> str:
    """`ok`, or the reason why the API is not reached from the process that runs this, within `limit_s` seconds."""
    # It runs where nothing of this project is, and so needs nothing of its module.
    import urllib.error
    import urllib.request

    try:
        urllib.request.urlopen(f"{api_url.rstrip('/')}/health", timeout=limit_s).read()
    except urllib.error.HTTPError as error:
        # It answers; whether it lets this user in is another matter.
        return "ok" if error.code in (401, 403) else f"HTTP {error.code}"
    except Exception as error:
        return " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__
    return "ok"


# It travels by value: pickle does not find it there, and what comes after it, cloudpickle, takes its code along.
answer.__module__ = "__main__"


def from_workers(clusters: Mapping[str, str], api_url: str | None) -> dict[str, dict[str, str]]:
    """By engine, then by worker or node: `ok`, or the reason why the API is not reached from there.

    Args:
        clusters: addresses, by engine.
        api_url: what flows would give to the workers; None: nothing is asked.
    """
    asked = {"dask": _dask, "ray": _ray}
    if api_url is None:
        return {}
    return {engine: asked[engine](address, api_url) for engine, address in clusters.items()}


def _dask(address: str, api_url: str) -> dict[str, str]:
    from distributed import Client

    try:
        with Client(address, timeout=ANSWER_S, set_as_default=False) as client:
            answers = client.run(answer, api_url, ANSWER_S, on_error="return")
    except (OSError, TimeoutError) as error:
        return {address: f"the cluster does not answer: {error}"}
    return {worker: _one_line(said) for worker, said in answers.items()}


def _ray(address: str, api_url: str) -> dict[str, str]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from runner_lab.runners.engines.ray import init

    try:
        where = urlsplit(address if "://" in address else f"tcp://{address}")
        if where.hostname and where.port:
            # Ray itself would try for minutes.
            socket.create_connection((where.hostname, where.port), ANSWER_S).close()
        init(address=address, log_to_driver=False, logging_level="CRITICAL")
    except (OSError, ValueError) as error:
        return {address: f"the cluster does not answer: {_one_line(error)}"}
    try:
        # Of no CPU, so that it does not wait for a free one.
        asked = ray.remote(num_cpus=0)(answer)
        answers = {
            node["NodeManagerAddress"]: asked.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(api_url, ANSWER_S)
            for node in ray.nodes()
            if node["Alive"]
        }
        return {node: _ray_answer(said) for node, said in answers.items()}
    finally:
        ray.shutdown()


def _ray_answer(said: object) -> str:
    import ray

    try:
        return str(ray.get(said, timeout=_RAY_ANSWER_S))
    except ray.exceptions.RayTaskError as error:
        return _one_line(error.cause)
    except ray.exceptions.RayError as error:
        return _one_line(error)


def _one_line(said: object) -> str:
    return " ".join(str(said).split())
