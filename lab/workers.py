"""How workers of clusters that run already reach the Prefect API, asked there: they need nothing of this project."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

_ANSWER_S = 5
_RAY_ANSWER_S = 60
"""A node that has no worker process yet starts one to answer."""


def reach(clusters: Mapping[str, str], api_url: str | None) -> dict[str, dict[str, str]]:
    """By engine, then by worker or node: `ok`, or the reason why the API is not reached from there.

    Args:
        clusters: addresses, by engine.
        api_url: what flows would give to the workers; None: nothing is asked.
    """
    asked = {"dask": _dask, "ray": _ray}
    if api_url is None:
        return {}
    question = f"__import__('urllib.request').request.urlopen({f'{api_url}/health'!r}, timeout={_ANSWER_S}).read()"
    return {engine: asked[engine](address, f"{question} and 'ok'") for engine, address in clusters.items()}


def _dask(address: str, question: str) -> dict[str, str]:
    from distributed import Client

    try:
        with Client(address, timeout=_ANSWER_S, set_as_default=False) as client:
            # `eval` is in every worker, which the lab's own modules are not.
            answers = client.run(eval, question, on_error="return")
    except (OSError, TimeoutError) as error:
        return {address: f"the cluster does not answer: {error}"}
    return {worker: _one_line(answer) for worker, answer in answers.items()}


def _ray(address: str, question: str) -> dict[str, str]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    try:
        where = urlsplit(address if "://" in address else f"tcp://{address}")
        if where.hostname and where.port:
            # Ray itself would try for minutes.
            socket.create_connection((where.hostname, where.port), _ANSWER_S).close()
        ray.init(address, log_to_driver=False, logging_level="CRITICAL")
    except (OSError, ValueError) as error:
        return {address: f"the cluster does not answer: {_one_line(error)}"}
    try:
        # A lambda travels by value; of no CPU, so that it does not wait for a free one.
        asked = ray.remote(num_cpus=0)(lambda code: eval(code))
        answers = {
            node["NodeManagerAddress"]: asked.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(question)
            for node in ray.nodes()
            if node["Alive"]
        }
        return {node: _ray_answer(answer) for node, answer in answers.items()}
    finally:
        ray.shutdown()


def _ray_answer(answer: object) -> str:
    import ray

    try:
        return str(ray.get(answer, timeout=_RAY_ANSWER_S))
    except ray.exceptions.RayTaskError as error:
        return _one_line(error.cause)
    except ray.exceptions.RayError as error:
        return _one_line(error)


def _one_line(answer: object) -> str:
    return " ".join(str(answer).split())
