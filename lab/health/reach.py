"""Whether the Prefect API answers where flows and tasks run: here, and on the workers of clusters that run already."""

from __future__ import annotations

from collections.abc import Mapping

from runner_lab.runners import catalog

ANSWER_S = 5


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
    if api_url is None:
        return {}
    engines = catalog.load().engines
    return {
        name: engines[name].on_workers(address, answer, api_url, ANSWER_S, limit_s=ANSWER_S)
        for name, address in clusters.items()
    }
