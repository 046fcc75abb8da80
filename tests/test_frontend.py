"""The front end of FRONTEND_DIR: its files, and the API by the cookie of the browser."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from limits import parse

from app.core.config import Settings, get_settings
from app.discovery import optional
from tests.accounts.conftest import CONFIRM, Authenticator, authenticator, set_age, verify_address
from tests.accounts.steps import make_api_key
from tests.conftest import PASSWORD, Person, browser_of, client_of, make_settings, running
from tests.slices import needs

__all__ = ["authenticator"]

AT = "/app" if optional("app.pages") else ""
SESSION = "/api/v1/auth/session"
ME = "/api/v1/users/me"
INDEX, SCRIPT = "<!doctype html><title>Mine</title>", "export const answer = 42;"
HASHED = [
    "/assets/index-Bx3_9d-Q.js",
    "/assets/index-Bx3_9d-Q.js.map",
    "/assets/a-b-Cd12_f-h.woff2",
]
UNHASHED = ["/assets/settings.js", "/assets/app-settings.json", "/assets/logo-inverted.svg"]
JSON = {"Accept": "application/json"}
IMMUTABLE = "public, max-age=31536000, immutable"


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder as `vite build` makes it."""
    folder = tmp_path_factory.mktemp("dist")
    (folder / "assets").mkdir()
    (folder / "index.html").write_text(INDEX)
    for path in (*HASHED, *UNHASHED):
        (folder / path.strip("/")).write_text(SCRIPT)
    (folder.parent / "secret.txt").write_text("hidden")
    return folder


@pytest.fixture
def settings(database_url: str, build: Path) -> Settings:
    # For the docs, the API accepts the cookie as well.
    return make_settings(database_url, frontend_dir=build, docs_enabled=False)


@pytest.fixture
async def script(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a browser that a script of the front end uses."""
    async with browser_of(app, **JSON) as browser:
        yield browser


async def sign_in(script: httpx.AsyncClient, person: Person) -> httpx.Response:
    return await script.post(SESSION, json={"email": person.email, "password": PASSWORD})


@pytest.mark.parametrize("path", ["/", "/index.html", "/items/7", "/assets/none-12345678.js"])
async def test_pages_of_the_front_end_are_its_index_and_revalidated(
    browser: httpx.AsyncClient, path: str
) -> None:
    response = await browser.get(AT + path)
    assert (response.status_code, response.text) == (200, INDEX)
    assert response.headers["Cache-Control"] == "no-cache"
    assert "Accept" in response.headers.get_list("Vary", split_commas=True)
    assert "font-src 'self'" in response.headers["Content-Security-Policy"]
    assert "'unsafe-inline'" not in response.headers["Content-Security-Policy"]
    etag = {"If-None-Match": response.headers["ETag"]}
    assert (await browser.get(AT + path, headers=etag)).status_code == 304


async def test_path_without_a_slash_is_redirected(browser: httpx.AsyncClient) -> None:
    if AT:
        response = await browser.get(AT)
        assert response.status_code == 307
        assert response.headers["Location"] == f"http://localhost{AT}/"


async def test_hashed_files_are_kept_and_others_revalidated(script: httpx.AsyncClient) -> None:
    expectations = dict.fromkeys(HASHED, IMMUTABLE) | dict.fromkeys(UNHASHED, "no-cache")
    for path, expected in expectations.items():
        response = await script.get(AT + path, headers={"Accept": "*/*"})
        assert (response.status_code, response.text) == (200, SCRIPT)
        assert response.headers["Cache-Control"] == expected
        assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_missing_script_is_not_the_index(script: httpx.AsyncClient) -> None:
    """A cached page in the place of a script would break the front end."""
    response = await script.get(f"{AT}/assets/none-12345678.js", headers={"Accept": "*/*"})
    assert response.status_code == 404
    assert "immutable" not in response.headers.get("Cache-Control", "")


@pytest.mark.parametrize("path", ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt"])
async def test_files_outside_of_the_folder_are_not_served(
    script: httpx.AsyncClient, path: str
) -> None:
    assert "hidden" not in (await script.get(AT + path)).text


async def test_api_never_answers_with_the_index(browser: httpx.AsyncClient) -> None:
    for path in ("/api/v1/none", "/api/v1/auth/none", "/api/none", "/api/", "/api"):
        for method in ("GET", "POST"):
            response = await browser.request(method, path)
            assert response.status_code == 404, path
            assert INDEX not in response.text
    response = await browser.put("/api/v1/auth/session")
    assert response.status_code == 405
    assert response.headers["Allow"] == "POST, DELETE"


async def test_unknown_operation_is_a_problem(script: httpx.AsyncClient) -> None:
    response = await script.get("/api/v1/none")
    assert (response.status_code, response.json()["type"]) == (404, "/problems/not-found")


async def test_session_of_the_front_end_reads_and_writes(
    script: httpx.AsyncClient, ann: Person
) -> None:
    assert (await script.get(ME)).status_code == 401
    signed_in = await sign_in(script, ann)
    assert signed_in.status_code == 204
    assert all("HttpOnly" in each for each in signed_in.headers.get_list("Set-Cookie"))
    me = await script.get(ME)
    assert me.json()["email"] == ann.email
    assert me.headers["Cache-Control"] == "no-store"
    changed = await script.patch(ME, json={"full_name": "Ann"})
    assert changed.json()["full_name"] == "Ann"
    assert (await script.delete(SESSION)).status_code == 204
    assert (await script.get(ME)).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},  # another subdomain
        {"Sec-Fetch-Site": "none"},  # the address bar, or a link in a mail
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
        {"Sec-Fetch-Site": "", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "", "Origin": "null"},  # a sandboxed frame
        {"Sec-Fetch-Site": ""},
    ],
)
async def test_cookie_is_not_accepted_from_other_sites(
    script: httpx.AsyncClient, ann: Person, headers: dict[str, str]
) -> None:
    await sign_in(script, ann)
    for method in ("GET", "PATCH", "DELETE"):
        response = await script.request(method, ME, headers=headers)
        assert response.status_code == 401, method
    credentials = {"email": ann.email, "password": PASSWORD}
    assert (await script.post(SESSION, json=credentials, headers=headers)).status_code == 403
    assert (await script.delete(SESSION, headers=headers)).status_code == 403
    assert (await script.get(ME)).status_code == 200


async def test_own_origin_is_accepted_from_browsers_without_fetch_metadata(
    script: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in(script, ann)
    headers = {"Sec-Fetch-Site": "", "Origin": "http://localhost"}
    response = await script.patch(ME, json={"full_name": "Ann"}, headers=headers)
    assert response.status_code == 200


async def test_access_token_goes_before_the_cookie(
    script: httpx.AsyncClient, ann: Person, bob: Person
) -> None:
    await sign_in(script, ann)
    assert (await script.get(ME, headers=bob.client.headers)).json()["email"] == bob.email
    forged = {"Authorization": "Bearer forged"}
    assert (await script.get(ME, headers=forged)).status_code == 401


async def test_other_origins_get_no_permission_to_send_the_cookie(
    settings: Settings,
) -> None:
    origin = "https://shop.example"
    settings = settings.model_copy(update={"cors_origins": [origin]})
    async with running(settings) as app, client_of(app) as client:
        response = await client.get(ME, headers={"Origin": origin})
    assert response.headers["Access-Control-Allow-Origin"] == origin
    assert "Access-Control-Allow-Credentials" not in response.headers


async def test_requests_for_a_session_count_for_the_default_rate_limit(settings: Settings) -> None:
    settings = settings.model_copy(update={"rate_limit_default": parse("2/hour")})
    async with running(settings) as app, browser_of(app, **JSON) as script:
        statuses = [(await script.delete(SESSION)).status_code for _ in range(3)]
    assert statuses == [204, 204, 429]


async def test_unknown_parameter_of_a_session_is_refused(script: httpx.AsyncClient) -> None:
    assert (await script.delete(f"{SESSION}?all=true")).status_code == 422


async def test_wrong_password_sets_no_cookie(script: httpx.AsyncClient, ann: Person) -> None:
    response = await script.post(SESSION, json={"email": ann.email, "password": "wrong password"})
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert "Set-Cookie" not in response.headers


async def test_second_factor_completes_the_sign_in(
    app: FastAPI, script: httpx.AsyncClient, ann: Person, authenticator: Authenticator
) -> None:
    await verify_address(app, ann)
    await authenticator.set_up(ann)
    required = await sign_in(script, ann)
    assert (required.status_code, required.json()["error"]) == (400, "second_factor_required")
    assert (await script.get(ME)).status_code == 401
    proof = {"challenge": required.json()["challenge"], "code": authenticator.next_code()}
    for headers, status in (({"Sec-Fetch-Site": "cross-site"}, 403), ({}, 204)):
        response = await script.post(f"{SESSION}/second-factor", json=proof, headers=headers)
        assert response.status_code == status
    assert (await script.get(ME)).status_code == 200


async def test_sign_in_replaces_the_session_of_the_previous_cookie(
    app: FastAPI, script: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in(script, ann)
    planted = dict(script.cookies)
    await sign_in(script, ann)
    async with browser_of(app, **JSON) as thief:
        thief.cookies.update(planted)
        assert (await thief.get(ME)).status_code == 401


async def test_errors_of_the_session_are_documented_with_examples(app: FastAPI) -> None:
    document = await asyncio.to_thread(app.openapi)
    paths = {path: each for path, each in document["paths"].items() if path.startswith(SESSION)}
    operations = [each for path in paths.values() for each in path.values()]
    found = {each["operationId"]: {*each["responses"]} for each in operations}
    assert found.keys() >= {"create_session", "create_session_by_code", "end_session"}
    assert found["create_session"] >= {"204", "400", "403", "429"}
    for operation in operations:
        for status, response in operation["responses"].items():
            contents = response.get("content", {}).values()
            assert status < "400" or all(each["examples"] for each in contents), operation


@needs("pages.py")
async def test_session_is_that_of_the_pages(script: httpx.AsyncClient, ann: Person) -> None:
    await sign_in(script, ann)
    assert (await script.get("/account", headers={"Accept": "text/html"})).status_code == 200
    await script.post("/logout")
    assert (await script.get(ME)).status_code == 401


async def test_superuser_has_no_such_rights_until_the_session_is_confirmed(
    app: FastAPI, script: httpx.AsyncClient, root: Person, ann: Person
) -> None:
    """Neither a stolen cookie nor a browser that was left open gets around the confirmation."""
    await sign_in(script, root)
    assert (await script.get("/api/v1/users")).status_code == 200
    for minutes in (16, None):
        await set_age(app, minutes)
        for method, path, body in (
            ("GET", "/api/v1/users", None),
            ("PATCH", f"/api/v1/users/{ann.id}", {"is_superuser": True}),
            ("DELETE", f"/api/v1/users/{ann.id}", None),
        ):
            response = await script.request(method, path, json=body)
            assert response.status_code == 403, method
            assert response.json()["type"] == "/problems/password-required"
        assert (await script.get(ME)).status_code == 200
    confirmed = await script.post(CONFIRM, json={"current_password": PASSWORD})
    assert confirmed.status_code == 204
    assert (await script.get("/api/v1/users")).status_code == 200
    await set_age(app, 16)
    assert (await root.client.get("/api/v1/users")).status_code == 200  # by an access token


async def test_confirmation_keeps_the_session_and_replaces_its_cookie(
    app: FastAPI, script: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in(script, ann)
    stolen = dict(script.cookies)
    confirmed = await script.post(CONFIRM, json={"current_password": PASSWORD})
    assert confirmed.status_code == 204
    assert "HttpOnly" in confirmed.headers["Set-Cookie"]
    assert (await script.get(ME)).status_code == 200
    async with browser_of(app, **JSON) as thief:
        thief.cookies.update(stolen)
        assert (await thief.get(ME)).status_code == 401


async def test_confirmation_by_a_token_sets_no_cookie(
    script: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in(script, ann)
    proof = {"current_password": PASSWORD}
    confirmed = await script.post(CONFIRM, json=proof, headers=ann.client.headers)
    assert confirmed.status_code == 204
    assert "Set-Cookie" not in confirmed.headers
    assert (await script.get(ME)).status_code == 200


@needs("webhooks", "items")
async def test_webhook_is_made_after_a_confirmation(
    app: FastAPI, script: httpx.AsyncClient, ann: Person
) -> None:
    await sign_in(script, ann)
    await set_age(app, 16)
    types = (await script.get("/api/v1/webhooks/event-types")).json()
    webhook = {"url": "https://1.1.1.1/hook", "event_types": types[:1]}
    assert (await script.post("/api/v1/webhooks", json=webhook)).status_code == 403
    await script.post(CONFIRM, json={"current_password": PASSWORD})
    made = await script.post("/api/v1/webhooks", json=webhook)
    assert made.status_code == 201, made.text


async def test_key_is_revoked_by_cookie_after_a_recent_confirmation_only(
    app: FastAPI, script: httpx.AsyncClient, ann: Person
) -> None:
    """Pages ask for one as well. An access token is short-lived, and needs none."""
    await sign_in(script, ann)
    keys = [(await make_api_key(ann))["id"] for _ in range(2)]
    await set_age(app, 16)
    path = "/api/v1/users/me/api-keys/{}"
    refused = await script.delete(path.format(keys[0]))
    assert (refused.status_code, refused.json()["type"]) == (403, "/problems/password-required")
    assert (await ann.client.delete(path.format(keys[1]))).status_code == 204
    await script.post(CONFIRM, json={"current_password": PASSWORD})
    assert (await script.delete(path.format(keys[0]))).status_code == 204


async def test_sensitive_action_takes_the_password(script: httpx.AsyncClient, ann: Person) -> None:
    """To delete the account takes the password in the request, even of a confirmed session."""
    await sign_in(script, ann)
    response = await script.request("DELETE", ME, json={"current_password": "wrong password"})
    assert response.status_code == 403


async def test_api_is_as_before_without_a_front_end(database_url: str) -> None:
    async with running(make_settings(database_url)) as app, browser_of(app, **JSON) as script:
        assert (await script.post(SESSION, json={})).status_code == 404
        assert SESSION not in (await asyncio.to_thread(app.openapi))["paths"]


@pytest.mark.usefixtures("empty_working_directory")
@pytest.mark.parametrize("name", ["none", "empty"])
def test_missing_build_stops_the_start_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("FRONTEND_DIR", name)
    message = r"^FRONTEND_DIR: should be a folder with an index.html, as a build makes it$"
    with pytest.raises(SystemExit, match=message):
        get_settings()


async def test_front_end_is_served_below_a_path_prefix(settings: Settings) -> None:
    settings = settings.model_copy(update={"root_path": "/shop"})
    async with running(settings) as app:
        transport = httpx.ASGITransport(app, root_path="/shop")
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as browser:
            browser.headers.update({"Accept": "text/html", "Sec-Fetch-Site": "same-origin"})
            assert (await browser.get(f"/shop{AT}/items/7")).text == INDEX
            response = await browser.get("/shop/api/v1/none")
            assert response.status_code == 404
            assert INDEX not in response.text
            if AT:
                redirect = await browser.get(f"/shop{AT}")
                assert redirect.headers["Location"] == f"http://localhost/shop{AT}/"
