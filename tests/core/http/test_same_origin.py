"""Protection against cross-site request forgery. tests/security goes over all forms."""

import httpx
import pytest

from tests.conftest import (
    PASSWORD,
    Person,
    browser_of,
    client_of,
    make_person,
    make_settings,
    running,
    sign_in,
)
from tests.slices import needs

ME = "/api/v1/users/me"


def is_refused(response: httpx.Response) -> bool:
    return response.status_code == 403 and "was sent from another site" in response.text


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, False),
        ({"Origin": "http://localhost"}, False),
        ({"Origin": "http://127.0.0.1:8000"}, False),  # PUBLIC_URL
        # Browsers send "null" with the referrer policy no-referrer.
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, True),
        ({"Origin": "https://evil.example"}, True),
        ({"Origin": "https://localhost"}, True),  # The scheme differs.
        ({"Origin": "http://localhost:81"}, True),
        ({"Origin": "http://localhost.evil.example"}, True),
        ({"Origin": "null"}, True),
        ({"Origin": ""}, True),
        ({"Referer": "http://localhost/login"}, True),
        ({}, True),
    ],
)
async def test_form_is_accepted_only_from_this_site(
    client: httpx.AsyncClient, headers: dict[str, str], refused: bool
) -> None:
    response = await client.post("/nowhere", headers=headers)
    assert is_refused(response) is refused
    assert refused or response.status_code == 404


@needs("pages.py")
async def test_refused_sign_in_sets_no_cookie(client: httpx.AsyncClient, ann: Person) -> None:
    form = {"email": ann.email, "password": PASSWORD}
    response = await client.post("/login", data=form, headers={"Origin": "https://evil.example"})
    assert is_refused(response)
    assert "Set-Cookie" not in response.headers


@needs("items")
async def test_token_is_accepted_from_other_sites(ann: Person) -> None:
    item = {"name": "Lamp", "price": "1"}
    headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    response = await ann.client.post("/api/v1/items", json=item, headers=headers)
    assert response.status_code == 201


@needs("pages.py")
async def test_cookie_is_accepted_for_the_docs_from_this_site_only(
    browser: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in(browser, ann)
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},  # another port, or another subdomain
        {"Sec-Fetch-Site": "none"},  # the address bar, or a link in a mail
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
        {"Sec-Fetch-Site": "", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": ""},
    ):
        for method in ("GET", "PATCH", "DELETE"):
            response = await browser.request(method, ME, headers=headers)
            assert response.status_code == 401, (method, headers)
    changed = await browser.patch(ME, json={"full_name": "Ann"})
    assert (changed.status_code, changed.json()["full_name"]) == (200, "Ann")


@needs("pages.py")
async def test_api_ignores_the_cookie_without_docs_and_a_front_end(
    database_url: str, password_hash: str
) -> None:
    settings = make_settings(database_url, docs_enabled=False)
    async with running(settings) as app, browser_of(app) as browser:
        eve = await make_person(app, password_hash, "eve")
        await sign_in(browser, eve)
        assert (await browser.get("/account")).status_code == 200
        assert (await browser.get(ME)).status_code == 401
        assert (await eve.client.get(ME)).status_code == 200
        await eve.client.aclose()


async def test_form_of_another_origin_than_the_https_public_url_is_refused(
    database_url: str,
) -> None:
    settings = make_settings(database_url, public_url="https://example.com")
    same = {"Sec-Fetch-Site": "same-origin"}
    async with running(settings) as app, client_of(app) as client:
        for headers, status in (
            ({"Origin": "http://localhost"}, 403),
            (same | {"Origin": "http://localhost"}, 403),
            (same | {"Origin": "https://localhost"}, 403),
            (same | {"Origin": "https://example.com"}, 404),
            (same | {"Origin": "null"}, 404),
        ):
            assert (await client.post("/nowhere", headers=headers)).status_code == status, headers


async def test_form_behind_a_tls_proxy_is_accepted(database_url: str) -> None:
    settings = make_settings(database_url, public_url="https://Example.com")
    async with running(settings) as app, client_of(app) as client:
        for origin, status in (("https://example.com", 404), ("http://example.com", 403)):
            response = await client.post("/nowhere", headers={"Origin": origin})
            assert response.status_code == status
