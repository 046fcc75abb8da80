"""Tests of problem documents, request IDs, logs and limits, which apply to all requests."""

import io
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import StreamingResponse

from app.core.config import Settings
from app.core.errors import TooManyRequests
from app.core.http.problems import drop_tracebacks
from app.core.observability.logging import AppHandler, ConsoleFormatter, JsonFormatter
from app.resources import Resources
from tests.conftest import Person, client_of, make_settings, running
from tests.core.http.problems import assert_is_problem
from tests.slices import needs


async def test_unknown_path_returns_404(client: httpx.AsyncClient) -> None:
    for path in ("/nowhere", "/api/v1/items/", "/api/v2/items", "/%00", "/\N{SNOWMAN}"):
        assert_is_problem(await client.get(path), 404)


@needs("items")
@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/api/v1/items", "GET, POST, HEAD"),
        ("POST", "/api/v1/items/7", "GET, PUT, PATCH, DELETE, HEAD"),
        ("OPTIONS", "/api/v1/items", "GET, POST, HEAD"),
        ("GET", "/api/v1/auth/token", "POST"),
        ("DELETE", "/docs", "GET, HEAD"),
        ("HEAD", "/api/v1/auth/token", "POST"),
        ("PROPFIND", "/health/live", "GET, HEAD"),
        ("DELETE", "/static/docs/favicon.png", "GET, HEAD"),
    ],
)
async def test_405_names_every_method_of_the_path(
    client: httpx.AsyncClient, method: str, path: str, allow: str
) -> None:
    response = await client.request(method, path, headers={"Sec-Fetch-Site": "same-origin"})
    assert response.status_code == 405
    assert response.headers["Allow"] == allow
    if method != "HEAD":
        assert_is_problem(response, 405)


@needs("items")
async def test_head_returns_the_headers_of_get(ann: Person) -> None:
    item = (await ann.client.post("/api/v1/items", json={"name": "x", "price": 1})).json()
    ann.client.headers["Accept-Encoding"] = "identity"  # HEAD compresses nothing.
    for path in ("/health/live", "/docs", "/api/v1/items", f"/api/v1/items/{item['id']}"):
        get, head = await ann.client.get(path), await ann.client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        for name in ("Content-Type", "Content-Length"):
            assert head.headers[name] == get.headers[name]


@pytest.mark.parametrize("given", ["a", "a-B_c.9", "x" * 128])
async def test_valid_request_id_is_kept(client: httpx.AsyncClient, given: str) -> None:
    response = await client.get("/nowhere", headers={"X-Request-ID": given})
    assert assert_is_problem(response, 404)["request_id"] == given


@pytest.mark.parametrize("given", ["", " ", "a b", "x" * 129, "é", '"', "a\tb"])
async def test_invalid_request_id_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    response = await client.get("/nowhere", headers=[(b"X-Request-ID", given.encode())])
    assert len(assert_is_problem(response, 404)["request_id"]) == 32


async def test_unexpected_error_is_hidden_from_the_client_and_logged_once(
    app: FastAPI, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    @app.get("/bug")
    async def bug() -> None:
        raise ZeroDivisionError("the secret inside")

    response = await client.get("/bug", headers={"X-Request-ID": "the-id"})
    assert_is_problem(response, 500)
    assert "secret" not in response.text
    (record,) = [record for record in caplog.records if record.exc_info]
    line = json.loads(JsonFormatter().format(record))
    assert line["level"] == "ERROR"
    assert "ZeroDivisionError: the secret inside" in line["exception"]


async def test_exceeded_rate_limit_returns_429(app: FastAPI, client: httpx.AsyncClient) -> None:
    @app.get("/limited")
    async def limited() -> None:
        raise TooManyRequests("login", 10, 60, 42)

    response = await client.get("/limited")
    assert assert_is_problem(response, 429)["detail"] == (
        "Too many requests. Try again in 42 seconds. The limit is 10 in 60 seconds."
    )
    assert response.headers["Retry-After"] == "42"
    assert response.headers["RateLimit-Policy"] == '"login";q=10;w=60'
    assert response.headers["RateLimit"] == '"login";r=0;t=42'


async def test_error_during_streaming_aborts_the_response(
    app: FastAPI, client: httpx.AsyncClient
) -> None:
    async def body() -> AsyncIterator[str]:
        yield "half"
        raise ZeroDivisionError

    @app.get("/half")
    async def half() -> StreamingResponse:
        return StreamingResponse(body())

    with pytest.raises(ZeroDivisionError):
        await client.get("/half")


@needs("items")
async def test_access_log_has_the_route_and_no_secrets(
    client: httpx.AsyncClient, ann: Person, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await ann.client.get("/api/v1/items/7?token=secret", headers={"X-Request-ID": "the-id"})
    await client.get("/a%0Ab")
    await ann.client.head("/api/v1/items/7")
    first, second, head = (record for record in caplog.records if record.name == "app.access")
    assert head.__dict__["route"] == "/api/v1/items/{item_id}"
    assert head.__dict__["method"] == "HEAD"
    line = json.loads(JsonFormatter().format(first))
    assert line["method"] == "GET"
    assert line["path"] == "/api/v1/items/7"
    assert line["route"] == "/api/v1/items/{item_id}"
    assert line["status"] == 422
    assert line["duration_ms"] > 0
    assert second.__dict__["path"] == "/a%0Ab"
    assert second.__dict__["route"] is None
    ours = [record for record in caplog.records if record.name.startswith("app")]
    assert "secret" not in "".join(ConsoleFormatter().format(record) for record in ours)


async def test_probe_is_logged_only_when_it_fails(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await client.get("/health/live")
    await client.get("/health/ready")
    await client.get("/health/absent")
    lines = [record for record in caplog.records if record.name == "app.access"]
    assert [line.__dict__["path"] for line in lines] == ["/health/absent"]


async def test_log_lines_carry_the_request_id(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(settings) as app, client_of(app) as client:
        await client.get("/nowhere", headers={"X-Request-ID": "the-id"})
    lines = [line for line in capsys.readouterr().out.splitlines() if "/nowhere 404" in line]
    assert len(lines) == 1
    assert lines[0].endswith("[the-id]")


async def test_unwritable_log_line_does_not_affect_other_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)  # Otherwise it prints the error.
    out = io.StringIO()
    handler = AppHandler(out)
    handler.setFormatter(JsonFormatter())

    class Unprintable:
        def __str__(self) -> str:
            raise ZeroDivisionError

    def log(message: str, level: int = logging.INFO, **extra: Any) -> None:
        handler.handle(logging.makeLogRecord({"msg": message, "levelno": level, **extra}))

    log("before")
    log("not to be written", by=Unprintable())
    log("after")
    assert out.getvalue() == ""  # The lines are buffered.
    log("at once", logging.ERROR)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["message"] for line in lines] == ["before", "after", "at once"]


async def test_json_log_has_the_request_id_and_status(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = make_settings(database_url, log_format="json")
    async with running(settings) as app, client_of(app) as client:
        await client.get("/nowhere", headers={"X-Request-ID": "the-id"})
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (line,) = (line for line in lines if line["logger"] == "app.access")
    assert line.items() >= {"request_id": "the-id", "status": 404, "level": "INFO"}.items()


async def test_too_large_body_returns_413(database_url: str) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b'["xxxxxxxxxxxxxxxxx",'

    settings = make_settings(database_url, max_body_bytes=100)
    async with running(settings) as app, client_of(app) as client:
        client.headers["Content-Type"] = "application/json"
        for content in (b"x" * 101, chunks()):
            response = await client.post("/api/v1/users", content=content)
            detail = assert_is_problem(response, 413)["detail"]
            assert detail == "The body is too large: the limit is 100 bytes."
        assert_is_problem(await client.post("/nowhere", content=b"x" * 101), 413)
        assert_is_problem(await client.delete("/api/v1/users/me"), 401)
        response = await client.request("DELETE", "/api/v1/users/me", content=b"x" * 101)
        assert_is_problem(response, 413)  # The body is refused before the account is deleted.
        assert_is_problem(await client.post("/api/v1/users", content=b"x" * 100), 422)


async def test_too_large_form_returns_413_with_the_form_limit(client: httpx.AsyncClient) -> None:
    form = {"grant_type": "password", "password": "x" * 65_536}
    problem = assert_is_problem(await client.post("/api/v1/auth/token", data=form), 413)
    assert problem["detail"] == "The form is too large: the limit is 65,536 bytes."


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8000", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1", 200),
        ("[::1]:8000", 200),
        ("localhost:http", 400),
        ("localhost/:80", 400),
        ("evil.example", 400),
        ("localhost.evil.example", 400),
        ("", 400),
    ],
)
async def test_unknown_host_returns_400(client: httpx.AsyncClient, host: str, status: int) -> None:
    response = await client.get("/docs", headers={"Host": host})
    assert response.status_code == status
    if status == 400:
        assert_is_problem(response, 400)
    probe = await client.get("/health/live", headers={"Host": host})
    assert probe.status_code == 200


async def test_cors_is_disabled_by_default(client: httpx.AsyncClient) -> None:
    response = await client.get("/health/live", headers={"Origin": "https://front.example"})
    assert "Access-Control-Allow-Origin" not in response.headers


async def test_cors_allows_configured_origins_only(database_url: str) -> None:
    settings = make_settings(database_url, cors_origins=["https://front.example"])
    async with running(settings) as app, client_of(app) as client:

        @app.get("/bug")
        async def bug() -> None:
            raise ZeroDivisionError

        origin = {"Origin": "https://front.example"}
        for path in ("/health/live", "/nowhere", "/bug", "/large"):  # Scripts can read errors, too.
            length = {"Content-Length": "9999999"} if path == "/large" else {}
            response = await client.get(path, headers=origin | length)
            assert response.status_code == {"/bug": 500, "/nowhere": 404, "/large": 413}.get(
                path, 200
            )
            assert response.headers["Access-Control-Allow-Origin"] == "https://front.example"
            assert response.headers["X-Request-ID"]
        preflight = {"Access-Control-Request-Method": "PATCH"}
        response = await client.options("/api/v1/items/7", headers=origin | preflight)
        assert response.status_code == 200
        stranger = {"Origin": "https://evil.example"}
        response = await client.options("/api/v1/items/7", headers=stranger | preflight)
        assert_is_problem(response, 400)


async def test_gzip_is_used_above_1_kb(app: FastAPI, client: httpx.AsyncClient) -> None:
    async def numbers() -> AsyncIterator[str]:
        for number in range(1000):
            yield f"{number}\n"

    @app.get("/numbers")
    async def stream() -> StreamingResponse:
        return StreamingResponse(numbers())

    for path in ("/openapi.json", "/numbers"):
        plain = await client.get(path, headers={"Accept-Encoding": "identity"})
        gzipped = await client.get(path, headers={"Accept-Encoding": "gzip"})
        assert "Content-Encoding" not in plain.headers
        assert gzipped.headers["Content-Encoding"] == "gzip"
        assert plain.headers["Vary"] == gzipped.headers["Vary"] == "Accept-Encoding"
        assert plain.text == gzipped.text
    response = await client.get("/health/live", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in response.headers


def ids_of(resources: Resources) -> set[int]:
    return {id(value) for value in vars(resources).values()}


async def test_applications_in_one_process_share_no_resources(
    database_url: str, tmp_path: Any
) -> None:
    other_settings = make_settings(f"sqlite+aiosqlite:///{tmp_path}/none.db", secret_key="b" * 32)
    async with running(make_settings(database_url)) as one, running(other_settings) as other:
        shared = ids_of(one.state.resources) & ids_of(other.state.resources)
        assert shared == set()
        async with client_of(one) as client:
            assert (await client.get("/health/ready")).status_code == 200
        async with client_of(other) as client:
            assert (await client.get("/health/ready")).status_code == 503


def test_tracebacks_of_circular_errors_are_dropped() -> None:
    first, second = ValueError(), KeyError()
    first.__cause__, second.__context__ = second, first
    drop_tracebacks(first)
    assert first.__traceback__ is second.__traceback__ is None


def test_tracebacks_of_an_exception_group_are_dropped() -> None:
    error = ValueError()
    try:
        raise error
    except ValueError:
        drop_tracebacks(ExceptionGroup("a group", [error]))
    assert error.__traceback__ is None
