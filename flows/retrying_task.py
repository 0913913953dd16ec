"""A task that is tried again: it asks an HTTP service that is not ready yet."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import urlopen

from prefect import flow, runtime, task


class _Service(ThreadingHTTPServer):
    def __init__(self, failures: int) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.failures = failures


class _Answer(BaseHTTPRequestHandler):
    server: _Service

    def do_GET(self) -> None:
        ready = self.server.failures == 0
        if not ready:
            self.server.failures -= 1
        self.send_response(200 if ready else 503)
        self.end_headers()
        self.wfile.write(b"hello world" if ready else b"not yet")

    def log_message(self, *args: object) -> None:
        """Requests are counted by the task's attempts; they need no lines of their own."""


@contextmanager
def unready_service(failures: int) -> Iterator[str]:
    """A service on a free port of the loopback interface: 503 to the first `failures` requests, then `hello world`.

    Yields:
        Its URL.
    """
    with _Service(failures) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{service.server_address[1]}/"
        finally:
            service.shutdown()


@task(retries=3, retry_delay_seconds=1, log_prints=True)
def fetch_greeting(url: str) -> str:
    """Ask the service; four attempts, a second between any two.

    Raises:
        urllib.error.HTTPError: it was not ready at the last attempt either.
    """
    print(f"attempt {runtime.task_run.run_count}")
    with urlopen(url, timeout=10) as answer:
        return answer.read().decode()


@flow(log_prints=True)
def retrying_task(failures: int = 2) -> str:
    """Fetch a greeting from a service that is not ready for the first `failures` requests."""
    with unready_service(failures) as url:
        message = fetch_greeting(url)
    print(message)
    return message


if __name__ == "__main__":
    retrying_task()
