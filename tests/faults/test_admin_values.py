"""Hostile values in the addresses and the forms of the admin: none is an error of the server."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from app.admin import site
from app.web.admin_site.view import AdminView
from tests.forms import form_of

pytestmark = pytest.mark.slow("hundreds of requests for each view")

VALUES = (
    "",
    "\0",
    "😀" * 300,
    "a\u0301" * 40,  # more combining marks than any text has
    "%_\\'",
    "NaN",
    "1e400",
    "-1",
    "٣",
    "9223372036854775808",  # 2**63
    "00000000-0000-0000-0000-000000000000",
    "0001-01-01T00:00",
    "9999-12-31T23:59",
)
VIEWS = {view.identity: view for view in site.views}


@pytest.mark.parametrize("identity", VIEWS)
async def test_hostile_value_returns_no_server_error(
    admin: httpx.AsyncClient, identity: str
) -> None:
    requests = [*list_requests(VIEWS[identity]), *record_requests(VIEWS[identity])]
    requests += await form_requests(admin, VIEWS[identity])
    assert len(requests) > 100
    for method, url, fields in requests:
        sent = {"params" if method == "GET" else "data": fields}
        response = await admin.request(method, url, **sent)
        assert response.status_code < 500, (method, url, fields)


def list_requests(view: AdminView) -> Iterator[Any]:
    url = f"/admin/{view.identity}"
    names = ["search", "sort", "page", "page_size"]
    for value in VALUES:
        for name in names:
            yield "GET", f"{url}/list", {name: value}
        for filter_ in view.list_filters:
            for operation in ("equals", "greater_than", value):
                fields = {filter_.name: value, filter_.operation_name: operation}
                yield "GET", f"{url}/list", fields
        yield "GET", f"{url}/export/csv", {"search": value}


def record_requests(view: AdminView) -> Iterator[Any]:
    url = f"/admin/{view.identity}"
    for value in VALUES:
        for page in ("details", "edit"):
            yield "GET", f"{url}/{page}/{quote(value, safe='')}", {}
        yield "POST", f"{url}/edit/{quote(value, safe='')}", {}
        yield "GET", f"{url}/delete", {f"select-{value}": "on"}
        yield "POST", f"{url}/delete", {f"select-{value}": value}


async def form_requests(admin: httpx.AsyncClient, view: AdminView) -> list[Any]:
    if view.create_schema is None:
        return []
    url = f"/admin/{view.identity}/create"
    form = form_of(await admin.get(url))
    return [("POST", url, form | {name: value}) for name in form for value in VALUES]
