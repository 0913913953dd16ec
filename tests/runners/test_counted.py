"""The layer that counts what a server is asked, around an application of its own."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from runner_lab.runners import counted


async def _take(request: Request) -> Response:
    return JSONResponse({"lines": len(await request.json())})


async def _fail(request: Request) -> Response:
    return Response(status_code=503)


async def _events(socket: WebSocket) -> None:
    await socket.accept()
    async for _ in socket.iter_text():
        pass


@pytest.fixture
def app() -> counted.Counting:
    return counted.Counting(
        Starlette(
            routes=[
                Route("/api/logs/", _take, methods=["POST"]),
                Route("/api/task_runs/{id}", _take, methods=["POST"]),
                Route("/api/flow_runs/", _fail),
                WebSocketRoute("/api/events/in", _events),
            ]
        )
    )


def asked(app: counted.Counting, *requests: tuple[str, str, object, dict[str, str]]) -> dict:
    """Make the requests, then read the counts."""

    async def ask() -> dict:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://lab") as client:
            for method, path, body, headers in requests:
                await client.request(method, path, json=body, headers=headers)
            return (await client.get(counted.ROUTE)).json()

    return asyncio.run(ask())


def test_requests_are_counted_by_route_and_failures_apart(app):
    found = asked(
        app,
        ("POST", "/api/task_runs/1", [], {}),
        ("POST", "/api/task_runs/2", [], {}),
        ("GET", "/api/flow_runs/", None, {}),
    )

    assert found == {"requests": {"task_runs": 2, "flow_runs": 1}, "events": 0, "logs": 0, "failed": 1}


def test_the_labs_own_questions_are_not_counted(app):
    asked(app, ("POST", "/api/task_runs/1", [], {counted.UNCOUNTED: "1"}))

    assert asked(app)["requests"] == {}


def test_each_log_line_of_a_request_counts_whatever_it_says(app):
    lines = [{"name": "a", "level": 20, "message": 'said "level": 10'}, {"name": "b", "level": 30, "message": ""}]

    # Prefect's client writes JSON with and without blanks after the colon.
    assert asked(app, ("POST", "/api/logs/", lines, {}))["logs"] == 2


def test_a_log_line_counts_once_however_its_request_is_cut(app):
    body = json.dumps([{"level": 20}, {"level": 30}, {"level": 40}]).encode()

    async def bytewise():
        for place in range(len(body)):
            yield body[place : place + 1]

    async def ask() -> dict:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://lab") as client:
            await client.post("/api/logs/", content=bytewise())
            return (await client.get(counted.ROUTE)).json()

    assert asyncio.run(ask())["logs"] == 3


def test_event_messages_count_and_the_credentials_before_them_do_not(app):
    with TestClient(app).websocket_connect("/api/events/in") as socket:
        socket.send_text('{"type": "auth", "token": null}')
        for _ in range(3):
            socket.send_text('{"occurred": "2026-01-01T00:00:00Z", "event": "prefect.task-run.Running"}')

    assert asked(app)["events"] == 3


def test_a_server_that_does_not_count_has_none():
    assert counted.counts("http://127.0.0.1:1/api") is None
