"""Parts of other languages in every parameter of every operation of the API."""

import asyncio
import re
from collections import Counter
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from fastapi import FastAPI

from app.core.config import Settings
from tests.conftest import Person, client_of, make_settings

MARK = "inj4q9"
SECRET = "only-ann-may-read-this"
INJECTIONS = [
    "'",
    '"',
    "' OR '1'='1",
    "' OR 1=1 --",
    "1 OR 1=1",
    "1); DROP TABLE users; --",
    "1 UNION SELECT email FROM users",
    "' UNION SELECT NULL, email, password_hash FROM users --",
    "id; SELECT sleep(5)",
    "1' AND version() > '0",
    "%' ESCAPE '%",
    "(SELECT 1/0)",
    "{{7*191}}",
    "${7*191}",
    "<%= 7*191 %>",
    "{0.__class__.__mro__}",
    "%(name)s %n %s",
    "../../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "file:///etc/passwd",
    f"x\r\nX-{MARK}: 1",
    f"x%0d%0aSet-Cookie: {MARK}=1",
    "=HYPERLINK(1)",
    "*)(uid=*))(|(uid=*",
    "; cat /etc/passwd",
    "`id`",
    "$(id)",
    "\x00",
    "a\x00b",
    "\x1b[31m",
    "\N{REPLACEMENT CHARACTER}",
    '{"$ne": null}',
    "-1",
    "9" * 30,
    "1e400",
    "NaN",
    "[]",
    "x" * 2000,
]
# What an interpreter, a database or a file would leave in a response.
SIGNS = re.compile(
    rf"(?i)\b1337\b|root:x:0|{SECRET}|syntax error at|near \"|sqlite|postgres|asyncpg|"
    r"sqlalchemy|traceback|<class |uid=0|\$argon2"
)
READS, WRITES = ("get",), ("put", "patch", "post", "delete")


@pytest.fixture
def settings(database_url: str) -> Settings:
    return make_settings(database_url, rate_limit_login="10000/minute")


def requests_of(document: Any, methods: tuple[str, ...]) -> list[tuple[str, str, str, str]]:
    """Return the method, path, place and name of each parameter in a path or a query."""
    return [
        (method, path, parameter["in"], parameter["name"])
        for path, operations in document["paths"].items()
        for method in methods
        if method in operations
        for parameter in operations[method].get("parameters", [])
        if parameter["in"] in ("path", "query")
    ]


def url_of(path: str, place: str, name: str, value: str) -> str:
    query = f"?{urlencode({name: value})}"
    if place == "path":
        path, query = path.replace(f"{{{name}}}", quote(value, safe="")), ""
    return re.sub("{[^}]*}", "1", path) + query


def check(request: str, response: httpx.Response) -> None:
    assert response.status_code < 500, (request, response.text)
    assert not SIGNS.search(response.text), (request, response.text)
    assert not any(MARK in name + value for name, value in response.headers.items()), request


@pytest.mark.slow("thousands of requests")
@pytest.mark.parametrize("methods", [READS, WRITES])
async def test_injection_in_any_parameter_is_a_text_or_is_refused(
    app: FastAPI, ann: Person, bob: Person, attempts: Counter[str], methods: tuple[str, ...]
) -> None:
    await ann.client.patch("/api/v1/users/me", json={"full_name": SECRET})
    await ann.client.post("/api/v1/items", json={"name": SECRET, "price": 1})
    found = requests_of(await asyncio.to_thread(app.openapi), methods)
    for method, path, place, name in found:
        for injection in INJECTIONS:
            url = url_of(path, place, name, injection)
            response = await bob.client.request(method, url, json={} if methods == WRITES else None)
            check(f"{method} {url}", response)
            attempts[f"injections, in parameters of {'/'.join(methods).upper()}"] += 1
    assert len(found) > 5
    assert (await ann.client.get("/api/v1/users/me")).json()["full_name"] == SECRET
    assert (await bob.client.get("/api/v1/users/me")).status_code == 200


async def test_injection_in_the_token_request_signs_nobody_in(
    app: FastAPI, ann: Person, attempts: Counter[str]
) -> None:
    async with client_of(app) as client:
        for injection in INJECTIONS:
            for name in ("username", "password", "scope", "grant_type", "refresh_token"):
                form = {"grant_type": "password", "username": ann.email, "password": "wrong"}
                response = await client.post("/api/v1/auth/token", data=form | {name: injection})
                assert response.status_code in (400, 429), (name, injection, response.text)
                check(f"{name}={injection}", response)
                attempts["injections, in token requests"] += 1
