"""Tests that the fast router's responses for items equal FastAPI's."""

import random
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.fastpath.router import LeanRouter
from tests.conftest import Person
from tests.slices import needs

PATHS = (
    *("/items",) * 6,
    *("/items/1", "/items/2", "/items/3", "/items/0", "/items/x", "/items/1/", "/items/batch"),
    *("/items/export", "/items/99", "/items/" + "9" * 20, "/users/me", "/users/1", "/nowhere"),
)
METHODS = ("GET", "GET", "GET", "POST", "POST", "POST", "PUT", "PATCH", "HEAD", "OPTIONS")
QUERIES = (
    *("limit=2", "limit=0", "limit=x", "sort=-price", "sort=colour", "q=a", "q=%25", "cursor=x"),
    *("min_price=1.5", "min_price=x", "is_offer=true", "with_total=true", "owner_id=1"),
    *("owner_id=9", "colour=red", "limit=1&limit=2", "format=csv", "format=xml"),
)
HEADERS = (
    *(("If-None-Match", tag) for tag in ('"1"', 'W/"1", "7"', "*", "1")),
    *(("If-Match", tag) for tag in ("*", '"999"', "x")),
    *(("Idempotency-Key", key) for key in ("", "\x7f")),
    *(("Content-Type", type_) for type_ in ("text/plain", "application/json; charset=utf-8")),
    *(("Accept-Encoding", "gzip"), ("Authorization", "Bearer x"), ("Authorization", "Basic x")),
)
BODIES = (
    *('{"name": "a", "price": "1.50"}',) * 5,
    *('{"name": "b", "price": 2}', '{"price": 3}', "{}", "[]"),
    *('{"name": "", "price": 1}', '{"name": "c", "price": -1}', '{"name": null}', "{", ""),
    *('[{"name": "d", "price": 1}]', '{"name": "e", "price": 1, "colour": 1}', '{"price": 1e9}'),
)
ONCE = re.compile(
    rb'("(?:id|version|created_at|updated_at|request_id|next|at)": ?)("[^"]*"|\d+|null)'
)
MORE_REQUESTS = pytest.mark.slow("sends more of the generated requests")
OF_EACH = ("x-request-id", "location", "etag", "link", "content-length")


def generated(seed: int) -> Iterator[dict[str, Any]]:
    rng = random.Random(seed)
    for _ in range(200):
        headers = dict(
            [("Content-Type", "application/json"), *rng.choices(HEADERS, k=rng.randrange(3))]
        )
        yield {
            "method": rng.choice(METHODS),
            "url": f"/api/v1{rng.choice(PATHS)}?"
            + "&".join(rng.choices(QUERIES, k=rng.choice((0, 0, 1, 2)))),
            "headers": headers,
            "content": rng.choice(BODIES),
        }


def comparable(response: httpx.Response) -> Any:
    """Return the response with placeholders for the values that differ in each response."""
    headers = [
        (name, "new" if name in OF_EACH else value)
        for name, value in response.headers.multi_items()
    ]
    return response.status_code, headers, ONCE.sub(rb"\1", response.content)


@needs("items")
@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=MORE_REQUESTS) for n in (1, 2))])
async def test_responses_equal_those_of_fastapi(app: FastAPI, ann: Person, seed: int) -> None:
    routers = app.router.middleware_stack, app.router.app
    assert isinstance(routers[0], LeanRouter)
    for n in range(3):
        created = await ann.client.post("/api/v1/items", json={"name": f"Lamp {n}", "price": n})
        assert created.status_code == 201
    statuses = set()
    for request in generated(seed):
        responses = []
        for router in routers:
            app.router.middleware_stack = router
            responses.append(comparable(await ann.client.request(**request)))
        assert responses[0] == responses[1], request
        statuses.add(responses[0][0])
    assert {200, 201, 404, 405, 422} <= statuses
