"""Prefect's command line with its server counting what it is asked: `python -m runners.counted server start`.

An access log would leave websocket messages out, and a proxy would be one more process on the machine that is measured.
So the count is taken within the server, by a layer around its application: a few additions a request.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

ROUTE = "/runner-lab/counts"
"""Beside the API, not within it; a GET gives the counts so far, and is not counted."""
UNCOUNTED = "x-runner-lab"
"""A request with this header is the lab's own question and is not counted."""

_EVENTS = "/api/events/in"
_LOGS = "/api/logs"
_LINE = b'"level":'
"""Once in each log line: a quote within its text is escaped."""

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Counting:
    """An ASGI application around another, which counts.

    `requests`: HTTP requests by the first part of their route (`task_runs`, `logs`, ...). `events`: event messages over
    websockets. `logs`: log lines, of which a request holds many. `failed`: answers of 500 and above.
    """

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app
        self._requests: Counter[str] = Counter()
        self._events = self._logs = self._failed = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and scope["path"] == _EVENTS:
            await self._app(scope, self._counting_events(receive), send)
        elif scope["type"] == "http" and scope["path"] == ROUTE:
            await self._answer(send)
        elif scope["type"] == "http" and not any(name == UNCOUNTED.encode() for name, _ in scope["headers"]):
            self._requests[_first_part(scope["path"])] += 1
            logs = scope["path"].rstrip("/") == _LOGS and scope["method"] == "POST"
            await self._app(scope, self._counting_logs(receive) if logs else receive, self._counting_failures(send))
        else:
            await self._app(scope, receive, send)

    def _counting_events(self, receive: Receive) -> Receive:
        async def counting() -> dict[str, Any]:
            message = await receive()
            # A connection begins with a message that is none: its credentials.
            if message["type"] == "websocket.receive" and '"occurred"' in (message.get("text") or ""):
                self._events += 1
            return message

        return counting

    def _counting_logs(self, receive: Receive) -> Receive:
        end = b""

        async def counting() -> dict[str, Any]:
            nonlocal end
            message = await receive()
            # A body comes in parts, and one may end within a key: too short a piece of it is kept to be counted twice.
            part = end + (message.get("body") or b"")
            self._logs += part.count(_LINE)
            end = part[1 - len(_LINE) :]
            return message

        return counting

    def _counting_failures(self, send: Send) -> Send:
        async def counting(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start" and message["status"] >= 500:
                self._failed += 1
            await send(message)

        return counting

    async def _answer(self, send: Send) -> None:
        counts = {
            **{"requests": self._requests, "events": self._events},
            **{"logs": self._logs, "failed": self._failed},
        }
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(counts).encode()})


def counts(api_url: str) -> dict[str, Any] | None:
    """What the server at `api_url` has counted so far; None where it does not count."""
    root = api_url.removesuffix("/").removesuffix("/api")
    try:
        with urllib.request.urlopen(f"{root}{ROUTE}", timeout=60) as answer:
            found = json.loads(answer.read())
    except (urllib.error.URLError, ValueError, OSError):
        return None
    return found if isinstance(found, dict) and "requests" in found else None


def _first_part(path: str) -> str:
    return path.removeprefix("/api/").partition("/")[0]


def main() -> None:
    """Prefect's own command line; whatever it hands to uvicorn counts."""
    import uvicorn

    run = uvicorn.run

    def counted(app: Any, **options: Any) -> None:
        # With several workers it hands over a name, for each of them to import: nobody could add them up.
        run(app if isinstance(app, str) else Counting(app), **options)

    uvicorn.run = counted  # type: ignore[assignment]
    from prefect.cli import app

    sys.argv[0] = "prefect"
    app()


if __name__ == "__main__":
    main()
