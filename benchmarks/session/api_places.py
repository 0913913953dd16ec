"""Where Prefect's API is for what runs in this process and for what it starts: beside it, or a round trip away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from runner_lab.benchmarks.measuring import quiescence
from runner_lab.runners.far_api import far_api
from runner_lab.runners.isolation.environment import variable


class ApiPlaces:
    """One server by way of as many relays as there are distances.

    Args:
        api_url: of the server itself.
        scratch: folder for what the relays print.
        stack: stops them.
        ports: of the relays that others know already, by distance in seconds.
    """

    def __init__(self, api_url: str, scratch: Path, stack: ExitStack, ports: Mapping[float, int] | None = None) -> None:
        self._api_url = api_url
        self._scratch = scratch
        self._stack = stack
        self._ports = ports or {}
        self._urls: dict[float, str] = {}

    def url(self, latency_s: float) -> str:
        """The API's URL, so many seconds of a round trip away; its relay is started when it is first asked for.

        Raises:
            ServerError: it does not start.
        """
        if not latency_s:
            return self._api_url
        if latency_s not in self._urls:
            log = self._scratch / f"relay-{latency_s:g}.log"
            relay = far_api(self._api_url, latency_s, log, self._ports.get(latency_s))
            self._urls[latency_s] = self._stack.enter_context(relay)
        return self._urls[latency_s]

    @contextmanager
    def at(self, latency_s: float) -> Iterator[None]:
        """The settings of this process, and the environment of those that it starts, name the API at that distance.

        Raises:
            ServerError: its relay does not start.
        """
        from prefect.settings import PREFECT_API_URL, temporary_settings

        url = self.url(latency_s)
        if PREFECT_API_URL.value() == url:
            yield
            return
        # Prefect's threads that send events and logs keep the connection they began with: new ones begin at the new
        # place. What the old ones still hold is sent from the old one.
        quiescence.send_rest()
        with variable("PREFECT_API_URL", url), temporary_settings({PREFECT_API_URL: url}):
            try:
                yield
            finally:
                quiescence.send_rest()
