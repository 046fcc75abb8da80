"""Tests that the fast router responds to any request as FastAPI does.

Each test builds the same routes twice, sends each request to both, and compares the responses and
the calls with their order."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Annotated, Any

import anyio
import pytest
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Body,
    Cookie,
    Depends,
    FastAPI,
    Form,
    Header,
    Path,
    Query,
    Request,
    Response,
    Security,
)
from fastapi.responses import PlainTextResponse, RedirectResponse
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from fastapi.security import OAuth2PasswordBearer, SecurityScopes
from pydantic import BaseModel, Field, field_validator, model_validator
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.fastpath import use_fast_path
from app.core.fastpath.router import LeanRouter, UnsupportedRoute, plan_of
from tests.conftest import client_of
from tests.isolation import DEADLINE_SECONDS
from tests.waiting import run_pending_tasks

MORE_REQUESTS = pytest.mark.slow("sends more of the generated requests")
Calls = list[str]
tenant = ContextVar("tenant", default="nobody")
oauth2 = OAuth2PasswordBearer(tokenUrl="token", auto_error=False)


class Thing(BaseModel):
    name: str = Field(min_length=1, max_length=5)
    price: float = 1
    tags: list[str] = []
    secret: str | None = None


class Fussy(BaseModel):
    """A model whose validators change their input and read a context variable."""

    name: str = ""

    @model_validator(mode="before")
    @classmethod
    def change(cls, data: Any) -> Any:
        if data.pop("again"):
            raise ValueError("Not again")
        return data

    @field_validator("name")
    @classmethod
    def see(cls, name: str) -> str:
        return f"{name} of {tenant.get()}"


class Teapot(Response):
    def __init__(self, content: Any, *, status_code: int = 218, background: Any) -> None:
        super().__init__(content, status_code, background=background)


class ThingRead(BaseModel):
    name: str
    price: float


class Filter(BaseModel):
    model_config = {"extra": "forbid"}
    q: str | None = Field(default=None, max_length=3)
    limit: int = Field(default=10, ge=1, le=100)
    tag: list[str] = []


def called(connection: HTTPConnection, what: str) -> None:
    connection.app.state.calls.append(what)


async def outer(connection: HTTPConnection) -> None:
    called(connection, "outer")
    tenant.set("somebody")
    if "teapot" in connection.query_params:
        raise HTTPException(418, "outer", {"X-Outer": "1"})


async def session(request: Request) -> AsyncIterator[str]:
    called(request, "open")
    try:
        yield "session"
    except ValueError:
        called(request, "roll back")
        raise
    else:
        called(request, "commit")
    finally:
        called(request, "close")
        if "no-commit" in request.query_params:
            raise HTTPException(503, "commit")


Session = Annotated[str, Depends(session, scope="function")]


async def service(
    request: Request, session: Session, x_mode: Annotated[str, Header()] = "a"
) -> str:
    called(request, f"service {x_mode}")
    return f"service of {session}"


async def principal(
    required: SecurityScopes, request: Request, token: Annotated[str | None, Depends(oauth2)]
) -> str:
    called(request, f"principal {required.scope_str}")
    required.scopes.append("more")
    if token == "bad":
        raise HTTPException(401, "principal")
    return str(token)


class Tagged:
    """A dependency that is a callable object."""

    def __init__(self, tag: str) -> None:
        self.tag = tag

    async def __call__(self, request: Request, response: Response, n: int = 1) -> int:
        called(request, self.tag)
        response.headers.append("X-Tag", f"{self.tag} {n}")
        if n == 7:
            response.status_code = 207
        return n


async def slowly_closed(request: Request) -> AsyncIterator[None]:
    called(request, "open")
    try:
        yield
    finally:
        called(request, "closing")
        await run_pending_tasks()
        called(request, "closed")


async def counted(request: Request) -> int:
    called(request, "counted")
    return len(request.app.state.calls)


def sync(q: str = "sync") -> str:
    return q


async def request_scoped(request: Request) -> AsyncIterator[str]:
    yield "request"
    called(request, "after the answer")


async def with_body(thing: Thing) -> str:
    return thing.name


ServiceDep = Annotated[str, Depends(service)]
Reader = Annotated[str, Security(principal, scopes=["read"])]


TAGGED = Tagged("tagged")


def lean(router: APIRouter) -> None:
    """Add routes that the fast router supports."""

    @router.get("/plain")
    async def plain() -> dict[str, int]:
        return {"a": 1}

    @router.get("/none")
    async def none() -> None:
        return None

    @router.get("/things/special")
    async def special(request: Request) -> str:
        return request.url.path

    @router.get("/things/{thing_id}", response_model=ThingRead)
    async def read(
        thing_id: int,
        service: ServiceDep,
        principal: Reader,
        session: Session,
        response: Response,
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Any:
        response.headers["ETag"] = '"1"'
        if if_none_match == '"1"':
            return Response(status_code=304, headers={"X-From": service})
        if thing_id == 404:
            raise HTTPException(404, "There is none")
        if thing_id == 500:
            raise ValueError("a bug")
        return {"name": f"{principal} {session}", "price": thing_id, "secret": "hidden"}

    @router.get("/things")
    async def list_things(
        wanted: Annotated[Filter, Query()], request: Request, response: Response
    ) -> list[ThingRead]:
        called(request, wanted.model_dump_json())
        response.headers["Link"] = "next"
        return [ThingRead(name="a", price=wanted.limit)] * 3

    @router.get("/deep/{part}/b")
    async def varying_head(part: str) -> list[str]:
        return ["varying", part]

    @router.get("/deep/a/{part}")
    async def fixed_head(part: str) -> list[str]:
        return ["fixed", part]

    @router.post("/things", status_code=201, response_model=ThingRead)
    async def create(
        thing: Thing, service: ServiceDep, principal: Reader, response: Response
    ) -> Thing:
        response.headers["Location"] = f"/things/{service}"
        return thing

    @router.put("/things/{thing_id}")
    async def two_bodies(
        thing_id: Annotated[int, Path(ge=1)], thing: Thing, count: Annotated[int, Body(le=5)]
    ) -> list[Any]:
        return [thing_id, thing, count]

    @router.patch("/things/{thing_id}", response_model_exclude_unset=True)
    async def embedded(thing_id: str, thing: Annotated[Thing, Body(embed=True)]) -> Thing:
        return thing

    @router.post("/batch")
    async def batch(things: Annotated[list[Thing], Body(max_length=2)]) -> int:
        return len(things)

    @router.post("/anything")
    async def anything(body: Annotated[Any, Body()] = None) -> Any:
        return body

    @router.delete("/things/{thing_id}", status_code=204, response_class=Response)
    async def delete(thing_id: int, service: ServiceDep) -> None:
        if thing_id > 400:
            raise HTTPException(409)

    @router.get("/text/{text:path}", response_class=PlainTextResponse)
    async def text(text: str, q: Annotated[bool, Query()] = True) -> str:
        return f"{text} {q}"

    @router.get("/scalars")
    async def scalars(
        number: int,
        share: Annotated[float | None, Query(gt=0, lt=1)] = None,
        flag: bool | None = None,
        word: Annotated[str, Query(alias="the-word", min_length=2)] = "it",
        theme: Annotated[str | None, Cookie()] = None,
        x_many: Annotated[list[str] | None, Header()] = None,
        numbers: Annotated[tuple[int, ...], Query()] = (),
    ) -> list[Any]:
        return [number, share, flag, word, theme, x_many, numbers]

    @router.get("/tags")
    async def tags(
        a: Annotated[int, Depends(Tagged("a"))],
        b: Annotated[int, Depends(Tagged("b"))],
        one: Annotated[int, Depends(counted)],
        again: Annotated[int, Depends(counted)],
        anew: Annotated[int, Depends(counted, use_cache=False)],
        response: Response,
    ) -> list[Any]:
        if a == 4:
            response.status_code = 204
        return [a, b, one, again, anew]

    @router.post("/fussy")
    async def fussy(body: Fussy, session: Session) -> Fussy:
        return body

    @router.get("/slow")
    async def slow(
        request: Request, opened: Annotated[None, Depends(slowly_closed, scope="function")]
    ) -> None:
        request.scope["cancel"]()
        await asyncio.Event().wait()

    @router.get("/forward/{path}")
    async def forward(path: str, request: Request) -> Response:
        inner = {**request.scope, "path": f"/v1/{path}", "raw_path": b"", "path_params": {}}
        sent = list[Any]()

        async def send(message: Any) -> None:
            sent.append(message)

        await request.app(inner, request.receive, send)
        return Response(sent[1]["body"], sent[0]["status"])

    @router.get("/redirect", response_class=RedirectResponse)
    async def redirect() -> str:
        return "/plain"

    @router.get("/teapot", response_class=Teapot)
    async def teapot() -> bytes:
        return b"short and stout"

    @router.get("/wrong", response_model=ThingRead)
    async def wrong(n: int = 1) -> Any:
        return {"name": "x", "price": 1 if n == 1 else "dear"}

    @router.get("/two-scopes")
    async def two_scopes(
        a: Annotated[str, Security(principal, scopes=["a"])],
        b: Annotated[str, Security(principal, scopes=["b"])],
    ) -> list[str]:
        return [a, b]


def not_lean(router: APIRouter) -> None:
    """Add routes that are left to FastAPI."""

    @router.get("/sync")
    def sync_endpoint(q: int = 1) -> int:
        return q

    @router.get("/sync-dependency")
    async def sync_dependency(q: Annotated[str, Depends(sync)]) -> str:
        return q

    @router.get("/request-scoped")
    async def request_scope(value: Annotated[str, Depends(request_scoped)]) -> str:
        return value

    @router.post("/body-in-dependency")
    async def body_in_dependency(name: Annotated[str, Depends(with_body)]) -> str:
        return name

    @router.post("/form")
    async def form(name: Annotated[str, Form()]) -> str:
        return name

    @router.get("/background")
    async def background(tasks: BackgroundTasks, request: Request) -> str:
        tasks.add_task(called, request, "background")
        return "later"

    @router.get("/params-twice")
    async def params_twice(
        one: Annotated[int, Depends(TAGGED)], again: Annotated[int, Depends(TAGGED)]
    ) -> list[int]:
        return [one, again]

    @router.get("/stream")
    async def stream() -> AsyncIterator[int]:
        yield 1
        yield 2


def make_app(*, fast: bool) -> FastAPI:
    app = FastAPI()
    app.state.calls, app.state.client = Calls(), client_of(app)
    for routes in (lean, not_lean):
        router = APIRouter()
        routes(router)
        app.include_router(router, prefix="/v1", dependencies=[Depends(outer)])
    if fast:
        app.router.middleware_stack = LeanRouter(app)
    return app


THING = '{"name": "a", "price": "2.5", "tags": ["x"], "secret": "s", "more": 1}'
THINGS = (
    *(THING, '{"name": "a"}', '{"name": ""}', '{"name": "too long"}', '{"name": 1}', "{}"),
    *('{"price": NaN, "name": "n"}', '{"price": 1e999, "name": "n"}', '{"name": "\\ud800"}'),
)
# A valid request for each route, and a request for each kind of error.
REQUESTS = (
    *(("GET", path, "") for path in ("/plain", "/none", "/things/special", "/things/1", "/things")),
    *(("GET", path, "") for path in ("/deep/a/b", "/deep/a/c", "/deep/x/b", "/deep/x/c")),
    *(("POST", path, THING) for path in ("/things", "/anything", "/body-in-dependency")),
    *(("PUT", "/things/2", f'{{"thing": {THING}, "count": 3}}'), ("DELETE", "/things/3", "")),
    *(("PATCH", "/things/x", f'{{"thing": {THING}}}'), ("POST", "/batch", f"[{THING}]")),
    *(("GET", path, "") for path in ("/text/a/b", "/scalars?number=1", "/tags", "/wrong", "/sync")),
    *(("GET", path, "") for path in ("/sync-dependency", "/request-scoped", "/background")),
    *(("GET", path, "") for path in ("/two-scopes", "/stream", "/redirect", "/teapot")),
    *(("GET", path, "") for path in ("/params-twice", "/params-twice?n=x", "/forward/sync")),
    *(("POST", "/fussy", f'{{"name": "x", "again": {again}}}') for again in ("false", "true")),
    *(("GET", path, "") for path in ("/things/404", "/things/500", "/things/1?no-commit=1")),
    *(("DELETE", "/things/404", ""), ("GET", "/tags?n=7", ""), ("GET", "/wrong?n=2", "")),
    ("POST", "/form", "name=a"),
)
PATHS = (
    *(f"/things/{id_}" for id_ in ("0", "-1", "007", "404", "500", "1e3", "abc", "%20", "9" * 30)),
    *("/things/1/", "/things/", "/things/1/2", "/nowhere", "", "/", "/plain/", "//plain", "/PLAIN"),
)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "QUERY")
QUERIES = (
    *("n=4", "n=7", "n=x", "n=", "n=1&n=2", "q=abc", "q=abcd", "q=", "limit=5", "limit=0"),
    *(
        "tag=a",
        "tag=b",
        "number=2",
        "number=1.0",
        "number=one",
        "share=0.5",
        "share=nan",
        "share=2",
    ),
    *(
        "flag=yes",
        "flag=maybe",
        "the-word=hello",
        "the-word=x",
        "word=hello",
        "numbers=1&numbers=2",
    ),
    *("numbers=x", "teapot=1", "no-commit=1", "unknown=1", "%ff=%ff", "a=%00"),
)
HEADERS = (
    *(("Authorization", f"Bearer {token}") for token in ("good", "bad", "")),
    *(("X-Mode", mode) for mode in ("b", "", "\xe9")),
    *(("If-None-Match", tag) for tag in ('"1"', "*")),
    *(("Cookie", cookie) for cookie in ("theme=dark", "theme", "theme=a; theme=b")),
    *(("X-Many", "1"), ("X-Many", "2")),
)
TYPES = (
    *("application/json; charset=utf-8", "APPLICATION/JSON", " application/json ;", "text/json"),
    *("application/problem+json", "application/json/x", "text/plain", "multipart/form-data", ""),
    "application/x-www-form-urlencoded",
)
BODIES = (
    *THINGS,
    *(f"[{thing}]" for thing in THINGS),
    *(
        f'{{"thing": {thing}, "count": {count}}}'
        for thing in THINGS
        for count in ("1", "9", "null")
    ),
    *(
        "",
        "null",
        "[]",
        "{",
        "1",
        "true",
        '"text"',
        "[1, 2, 3]",
        "name=a",
        "\xff\xfe",
        f"[{THING}]" * 2,
    ),
)


def generated(rng: random.Random, count: int) -> Iterator[dict[str, Any]]:
    """Return random requests, most of which have one or two errors."""
    for _ in range(count):
        method, path, body = rng.choice(REQUESTS)
        is_form = path == "/form"
        content_type = "application/x-www-form-urlencoded" if is_form else "application/json"
        match rng.randrange(8):
            case 0:
                method = rng.choice(METHODS)
            case 1:
                path = rng.choice(PATHS)
            case 2:
                content_type = rng.choice(TYPES)
            case 3 | 4:
                body = rng.choice(BODIES)
        headers = rng.choices(HEADERS, k=rng.randrange(3))
        if content_type:
            headers.append(("Content-Type", content_type))
        queries = rng.choices(QUERIES, k=rng.choice((0, 0, 1, 2)))
        yield {
            "method": method,
            "url": "/v1" + path + ("&" if "?" in path else "?") + "&".join(queries),
            "headers": [(name, value.encode("latin-1")) for name, value in headers],
            "content": body.encode("latin-1"),
        }


async def outcome(app: FastAPI, request: dict[str, Any]) -> Any:
    app.state.calls.clear()
    try:
        response = await app.state.client.request(**request)
    except Exception as error:  # noqa: BLE001  # Both must raise the same error.
        return repr(error), app.state.calls
    return response.status_code, response.headers.raw, response.content, app.state.calls


@pytest.fixture(scope="module")
def both() -> tuple[FastAPI, FastAPI]:
    return make_app(fast=False), make_app(fast=True)


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=MORE_REQUESTS) for n in (1, 2))])
async def test_responses_equal_those_of_fastapi(both: tuple[FastAPI, FastAPI], seed: int) -> None:
    fastapi, lean = both
    statuses = set()
    for request in generated(random.Random(seed), 500):
        expected = await outcome(fastapi, request)
        assert await outcome(lean, request) == expected, request
        statuses.add(expected[0])
    assert {200, 201, 204, 207, 401, 404, 405, 409, 418, 422, 503} <= statuses


def is_fast(route: RouteContext) -> bool:
    try:
        plan_of(route)
    except UnsupportedRoute:
        return False
    return True


def test_supported_routes_are_lean() -> None:
    are_fast = {
        each.name: is_fast(each) for each in iter_route_contexts(make_app(fast=True).routes)
    }
    known, unknown = APIRouter(), APIRouter()
    lean(known)
    not_lean(unknown)
    assert all(are_fast[route.name] for route in iter_route_contexts(known.routes))
    assert not any(are_fast[route.name] for route in iter_route_contexts(unknown.routes))


async def test_route_class_keeps_its_handler() -> None:
    class Stamped(APIRoute):
        def get_route_handler(self) -> Any:
            handle = super().get_route_handler()

            async def handle_and_stamp(request: Request) -> Response:
                response = await handle(request)
                response.headers["X-Stamp"] = "stamped"
                return response

            return handle_and_stamp

    app, router = FastAPI(), APIRouter(route_class=Stamped)

    @router.get("/stamped")
    async def read() -> int:
        return 1

    app.include_router(router, prefix="/v1")
    app.router.middleware_stack = LeanRouter(app)
    async with client_of(app) as client:
        assert (await client.get("/v1/stamped")).headers["X-Stamp"] == "stamped"
    assert is_fast(next(each for each in iter_route_contexts(app.routes) if each.name == "read"))


def test_route_of_the_application_is_fast() -> None:
    app = FastAPI()

    @app.get("/direct")
    async def direct() -> int:
        return 1

    assert all(is_fast(route) for route in iter_route_contexts(app.routes[-1:]))


def test_fast_path_is_not_used_with_an_untested_fastapi(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fastapi.__version__", "0.999.0")
    app = FastAPI()
    use_fast_path(app)
    assert not isinstance(app.router.middleware_stack, LeanRouter)
    assert "0.999.0" in caplog.text


async def test_unsupported_route_is_left_to_fastapi(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A later version of FastAPI must not cause an outage."""

    def fail(*_: Any) -> None:
        raise AttributeError("FastAPI renamed it")

    fastapi, lean = make_app(fast=False), make_app(fast=True)
    monkeypatch.setattr("app.core.fastpath.router._add_step", fail)
    for request in generated(random.Random(7), 50):
        assert await outcome(lean, request) == await outcome(fastapi, request)
    records = [each for each in caplog.records if each.name == "app.fastpath"]
    assert [each.levelname for each in records] == ["ERROR"]


async def test_fastapi_solves_unsupported_requests_only(monkeypatch: pytest.MonkeyPatch) -> None:
    app, solved = make_app(fast=True), list[str]()

    async def solve(*, request: Request, **_: Any) -> Any:
        solved.append(request.url.path)
        raise HTTPException(500)

    monkeypatch.setattr("fastapi.routing.solve_dependencies", solve)
    for method, path, body in (*REQUESTS[:15], ("GET", "/things/x", "")):
        request = {"method": method, "url": f"/v1{path}", "content": body}
        await outcome(app, request | {"headers": {"Content-Type": "application/json"}})
    assert solved == ["/v1/body-in-dependency"]
    await outcome(app, {"method": "POST", "url": "/v1/things", "content": "{}"})
    assert solved[1:] == ["/v1/things"]


async def test_dependency_override_is_used() -> None:
    app = make_app(fast=True)
    app.dependency_overrides[service] = lambda: "another"
    headers = {"Content-Type": "application/json"}
    async with client_of(app) as client:
        response = await client.post("/v1/things", headers=headers, content=THING)
    assert response.headers["Location"] == "/things/another"


Messages = list[dict[str, Any]]
GONE = {"type": "http.disconnect"}


def chunk(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


@pytest.mark.parametrize(
    ("messages", "status"),
    [
        ([chunk(THING.encode())], 201),
        ([chunk(THING[:9].encode(), more=True), chunk(THING[9:].encode())], 201),
        ([chunk(b"{", more=True), GONE], 400),
        ([GONE], 400),
        ([chunk(b"x" * 200)], 413),
        ([chunk(b"x" * 90, more=True), chunk(b"x" * 90)], 413),
        ([chunk(b"x" * 200, more=True)], 413),
        ([chunk(b"[" * 90, more=True), chunk(b"")], 422),
    ],
)
async def test_body_is_read_once(messages: Messages, status: int) -> None:
    outcomes = []
    for app in (make_app(fast=False), make_app(fast=True)):
        app.add_middleware(RequestBodyLimitMiddleware, max_body_size=100)
        left, sent = [*messages], Messages()

        async def receive(left: Messages = left) -> Any:
            return (
                left.pop(0) if left else await asyncio.Event().wait()
            )  # The client sends no more.

        async def send(message: Any, sent: Messages = sent) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/things",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
        }
        async with asyncio.timeout(DEADLINE_SECONDS):
            await app(scope, receive, send)
        outcomes.append((sent, app.state.calls))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0][0]["status"] == status


async def test_cancelled_request_closes_its_dependencies() -> None:
    outcomes = []
    for app in (make_app(fast=False), make_app(fast=True)):

        class Impatient:
            def __init__(self, app: ASGIApp) -> None:
                self.app = app

            async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
                with anyio.CancelScope() as cancelled:
                    await self.app({**scope, "cancel": cancelled.cancel}, receive, send)

        app.add_middleware(Impatient)
        await outcome(app, {"method": "GET", "url": "/v1/slow"})
        outcomes.append([*app.state.calls])
    assert outcomes[0] == outcomes[1] == ["outer", "open", "closing", "closed"]
