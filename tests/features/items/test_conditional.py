"""ETag, If-None-Match and If-Match of items (RFC 9110, section 13)."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.accounts.ownership import update_query
from tests.conftest import Person
from tests.features.items.steps import LAMP, make_item
from tests.server import sign_up

URL = "/api/v1/items"
DESK = {"name": "Desk", "price": "5.00"}


def writes(item: dict[str, Any]) -> list[tuple[str, Any]]:
    return [("PUT", DESK), ("PATCH", {"price": 1}), ("PATCH", {}), ("DELETE", None)]


async def test_response_with_one_item_has_its_etag(ann: Person) -> None:
    created = await ann.client.post(URL, json=LAMP)
    url = created.headers["Location"]
    assert created.headers["ETag"] == '"1"'
    assert (await ann.client.get(url)).headers["ETag"] == '"1"'
    assert (await ann.client.put(url, json=DESK)).headers["ETag"] == '"2"'
    assert (await ann.client.patch(url, json={"price": 1})).headers["ETag"] == '"3"'
    assert (await ann.client.patch(url, json={})).headers["ETag"] == '"3"'
    assert (await ann.client.head(url)).headers["ETag"] == '"3"'


@pytest.mark.parametrize(
    ("known", "status"),
    [
        ('"1"', 304),
        ('W/"1"', 304),
        ('"1-gzip"', 304),
        ('"9", "1"', 304),
        ('"a,b" ,, "1"', 304),
        ("*", 304),
        ('"2"', 200),
        ('"01"', 200),
        ('""', 200),
        ('"' + "1" * 400 + '"', 200),
        ("", 200),
    ],
)
async def test_if_none_match_returns_304_for_a_known_version(
    ann: Person, known: str, status: int
) -> None:
    item = await make_item(ann)
    headers = {"If-None-Match": known}
    for method in ("GET", "HEAD"):
        response = await ann.client.request(method, f"{URL}/{item['id']}", headers=headers)
        assert response.status_code == status
        assert response.headers["ETag"] == '"1"'
    assert (await ann.client.get(f"{URL}/{item['id'] + 1}", headers=headers)).status_code == 404


@pytest.mark.parametrize("expected", ['W/"1"', '"1-gzip"', '"7", W/"1"'])
async def test_weak_tag_of_a_proxy_is_refused_with_the_reason(ann: Person, expected: str) -> None:
    item = await make_item(ann)
    url, headers = f"{URL}/{item['id']}", {"If-Match": expected}
    response = await ann.client.patch(url, json={"price": 1}, headers=headers)
    assert response.status_code == 412
    assert "ACCEPT_WEAK_ETAGS" in response.json()["detail"]
    assert (await ann.client.get(url)).json() == item


@pytest.mark.parametrize("expected", ['W/"1"', '"1-gzip"', '"7", W/"1"'])
async def test_weak_tag_of_a_proxy_is_accepted_with_the_setting(
    app: FastAPI, ann: Person, monkeypatch: pytest.MonkeyPatch, expected: str
) -> None:
    monkeypatch.setattr(app.state.resources.settings, "accept_weak_etags", True)
    item = await make_item(ann)
    url, headers = f"{URL}/{item['id']}", {"If-Match": expected}
    for status, detail in ((200, None), (412, "The item has changed. The current version is 2.")):
        response = await ann.client.patch(url, json={"price": 1}, headers=headers)
        assert (response.status_code, response.json().get("detail")) == (status, detail)


@pytest.mark.parametrize("expected", ['"1"', '"7", "1"', "*", ' "1" ,'])
async def test_if_match_with_the_current_version_succeeds(ann: Person, expected: str) -> None:
    for method, body in writes(LAMP):
        item = await make_item(ann)
        url, headers = f"{URL}/{item['id']}", {"If-Match": expected}
        response = await ann.client.request(method, url, json=body, headers=headers)
        assert response.status_code in (200, 204), (method, body)


@pytest.mark.parametrize("expected", ['"2"', '"a"', '"1 "'[:-2] + '0"', "", '"' + "9" * 40 + '"'])
async def test_if_match_with_a_stale_version_returns_412(ann: Person, expected: str) -> None:
    item = await make_item(ann)
    url, headers = f"{URL}/{item['id']}", {"If-Match": expected}
    for method, body in writes(item):
        response = await ann.client.request(method, url, json=body, headers=headers)
        assert response.status_code == 412, (method, body)
        assert response.headers["Content-Type"] == "application/problem+json"
        assert response.json()["detail"] == "The item has changed. The current version is 1."
    assert (await ann.client.get(url)).json() == item


@pytest.mark.parametrize(
    "tag", ["1", '"1', '1"', '"1" "2"', '"a b"', "W/1", '*, "1"', "w/" + '"1"']
)
async def test_invalid_etag_returns_422(ann: Person, tag: str) -> None:
    item = await make_item(ann)
    url = f"{URL}/{item['id']}"
    for method, body in writes(item):
        response = await ann.client.request(method, url, json=body, headers={"If-Match": tag})
        assert response.status_code == 422, (method, body)
        assert response.json()["errors"][0]["loc"] == ["header", "If-Match"]
    assert (await ann.client.get(url, headers={"If-None-Match": tag})).status_code == 422
    assert (await ann.client.get(url)).json() == item


@pytest.mark.parametrize("field", ["If-Match", "If-None-Match"])
async def test_more_than_50_tags_return_431(ann: Person, field: str) -> None:
    item = await make_item(ann)
    url, method = f"{URL}/{item['id']}", "GET" if field == "If-None-Match" else "DELETE"
    for tags in (", ".join(f'"{n}"' for n in range(51)), ",," * 30_000):
        response = await ann.client.request(method, url, headers={field: tags})
        assert response.status_code == 431
        assert response.json()["detail"] == f"{field} accepts at most 50 entity tags."


async def test_statements_do_not_vary_with_the_number_of_tags(ann: Person) -> None:
    """Otherwise clients could fill the caches of compiled and of prepared statements."""
    item = await make_item(ann)
    update_query.cache_clear()
    for count in range(1, 51):
        tags = ", ".join(f'"{n}"' for n in range(count, 0, -1))
        url, body = f"{URL}/{item['id']}", {"price": count}
        response = await ann.client.patch(url, json=body, headers={"If-Match": tags})
        assert response.status_code == (200 if count >= response.json()["version"] - 1 else 412)
    assert update_query.cache_info().currsize == 2


async def test_if_none_match_on_a_write_is_refused(ann: Person) -> None:
    item = await make_item(ann)
    url, headers = f"{URL}/{item['id']}", {"If-None-Match": "*"}
    for method, body in writes(item):
        response = await ann.client.request(method, url, json=body, headers=headers)
        assert response.status_code == 422, (method, body)
    assert (await ann.client.get(url)).json() == item


async def test_unknown_item_returns_404_for_any_if_match(ann: Person, bob: Person) -> None:
    item = await make_item(ann)
    for item_id in (item["id"], item["id"] + 1):
        for method, body in writes(item):
            response = await bob.client.request(
                method, f"{URL}/{item_id}", json=body, headers={"If-Match": '"1"'}
            )
            assert response.status_code == 404, (method, body)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_concurrent_writers_with_one_etag_have_one_winner(
    two_workers: httpx.Client, method: str
) -> None:
    sign_up(two_workers)
    created = two_workers.post(URL, json=LAMP)
    url, headers = created.headers["Location"], {"If-Match": created.headers["ETag"]}

    def write(n: int) -> int:
        body = None if method == "DELETE" else DESK | {"price": n}
        return two_workers.request(method, url, json=body, headers=headers).status_code

    with ThreadPoolExecutor(20) as pool:
        statuses = sorted(pool.map(write, range(20)))
    won, lost = (204, 404) if method == "DELETE" else (200, 412)
    assert statuses == [won] + [lost] * 19
    if method != "DELETE":
        assert two_workers.get(url).json()["version"] == 2
