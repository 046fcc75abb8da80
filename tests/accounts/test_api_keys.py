"""API keys: what a program may do with one, and how it ends."""

import asyncio
import json
import re
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI
from limits import parse
from sqlalchemy import select, update

from app.accounts.models import ApiKey
from app.accounts.repository import ApiKeyRepository
from app.accounts.schemas import ApiKeyCreate
from app.accounts.scopes import allowed_scopes, key_scopes
from app.accounts.service import api_keys
from app.core.database.models import utc_now
from app.core.errors import DatabaseUnavailable
from tests.accounts.conftest import Outbox, described, set_age
from tests.accounts.session_cache import until_cache_is_held
from tests.accounts.steps import (
    API_KEY_SCOPES,
    API_KEYS,
    NEW_PASSWORD,
    event_facts,
    make_api_key,
    post_to_auth,
    reset_password,
    sign_in_to_api,
)
from tests.conftest import (
    PASSWORD,
    Person,
    browser_of,
    client_of,
    counted_statements,
    delete_account,
    make_settings,
    only,
    running,
    sign_in,
)
from tests.databases import run_sql
from tests.isolation import DEADLINE_SECONDS
from tests.slices import needs

ME = "/api/v1/users/me"
pytestmark = needs("items")  # A key needs a scope, and those of accounts are not for keys.


async def status_with(app: FastAPI, key: str, path: str = ME) -> int:
    async with client_of(app, key) as client:
        return (await client.get(path)).status_code


async def stored_key(app: FastAPI) -> ApiKey:
    async with app.state.resources.database.reading() as session:
        found: ApiKey = (await session.scalars(select(ApiKey))).one()
    return found


async def test_key_is_shown_once_and_stored_as_a_hash(app: FastAPI, ann: Person) -> None:
    created = await make_api_key(ann)
    key = created["key"]
    assert re.fullmatch(r"app_[\w-]{43}", key)
    assert key.startswith(created["prefix"])
    stored = await stored_key(app)
    assert stored.key_hash == sha256(key.encode()).hexdigest()
    listed = await ann.client.get(API_KEYS)
    assert listed.json() == [{name: created[name] for name in created if name != "key"}]
    assert key not in listed.text


async def test_key_acts_for_its_owner_within_its_scopes(
    app: FastAPI, ann: Person, bob: Person
) -> None:
    key = (await make_api_key(ann, scopes=["items:read"]))["key"]
    lamp = {"name": "Lamp", "price": 1}
    item = (await ann.client.post("/api/v1/items", json=lamp)).json()
    await bob.client.post("/api/v1/items", json=lamp)
    async with client_of(app, key) as client:
        assert (await client.get(ME)).json()["id"] == ann.id
        results = (await client.get("/api/v1/items")).json()["results"]
        assert [each["id"] for each in results] == [item["id"]]
        refused = await client.post("/api/v1/items", json=lamp)
    assert refused.status_code == 403
    assert refused.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope"'


@pytest.mark.parametrize("is_superuser", [False, True])
async def test_key_manages_neither_accounts_nor_keys(
    app: FastAPI, ann: Person, root: Person, is_superuser: bool
) -> None:
    person = root if is_superuser else ann
    created = await make_api_key(person, scopes=sorted(key_scopes(is_superuser)))
    body = {"name": "More", "scopes": API_KEY_SCOPES, "current_password": PASSWORD}
    passwords = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    async with client_of(app, created["key"]) as client:
        for call in (
            client.get(API_KEYS),
            client.post(API_KEYS, json=body),
            client.delete(f"{API_KEYS}/{created['id']}"),
            client.patch(ME, json={"full_name": "Eve"}),
            client.request("DELETE", ME, json={"current_password": PASSWORD}),
            client.post(f"{ME}/password", json=passwords),
            client.get(f"{ME}/security-events"),
            client.get("/api/v1/auth/sessions"),
            client.get("/api/v1/users"),
            client.patch(f"/api/v1/users/{ann.id}", json={"is_superuser": True}),
        ):
            assert (await call).status_code == 403
        await client.post("/api/v1/auth/revoke", data={"token": created["key"]})
        assert (await client.get(ME)).status_code == 200


@needs("pages.py")
async def test_pages_ignore_a_key(browser: httpx.AsyncClient, ann: Person) -> None:
    created = await make_api_key(ann)
    browser.headers["Authorization"] = f"Bearer {created['key']}"
    assert (await browser.get("/account")).status_code == 303


@pytest.mark.parametrize(
    "scope", ["account", "users:admin", "items:all", "nonsense", "", "\x00", "\ud800", "x" * 101]
)
async def test_scope_that_the_key_cannot_have_is_refused(ann: Person, scope: str) -> None:
    body = {"name": "Import", "scopes": [*API_KEY_SCOPES, scope], "current_password": PASSWORD}
    headers = {"Content-Type": "application/json"}
    refused = await ann.client.post(API_KEYS, content=json.dumps(body), headers=headers)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["loc"][:2] == ["body", "scopes"]
    assert (await ann.client.get(API_KEYS)).json() == []


async def test_token_with_some_scopes_makes_no_key_with_others(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    narrow, other = API_KEY_SCOPES[:2]
    token = (await sign_in_to_api(client, ann, scope=f"account {narrow}"))["access_token"]
    body = {"name": "Import", "scopes": [other], "current_password": PASSWORD}
    async with client_of(app, token) as limited:
        assert (await limited.post(API_KEYS, json=body)).status_code == 422
        assert (await limited.post(API_KEYS, json=body | {"scopes": [narrow]})).status_code == 201


async def test_key_of_a_demoted_superuser_loses_their_scopes(
    app: FastAPI, root: Person, bob: Person
) -> None:
    scopes = key_scopes(True)
    key = (await make_api_key(root, scopes=sorted(scopes)))["key"]
    users = app.state.resources.accounts
    assert (await users.authenticate(key)).scopes == scopes
    url = f"/api/v1/users/{bob.id}"
    assert (await root.client.patch(url, json={"is_superuser": True})).status_code == 200
    url = f"/api/v1/users/{root.id}"
    assert (await root.client.patch(url, json={"is_superuser": False})).status_code == 200
    principal = await users.authenticate(key)
    assert principal.scopes == key_scopes(False)
    assert principal.scopes < allowed_scopes(False)
    assert not principal.is_superuser


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"name": "\x00"},
        {"scopes": []},
        {"expires_in_days": 0},
        {"expires_in_days": 366},
        {"current_password": None},
        {"prefix": "app_mine"},
    ],
)
async def test_invalid_key_is_refused(ann: Person, changes: dict[str, Any]) -> None:
    body = {"name": "Import", "scopes": API_KEY_SCOPES, "current_password": PASSWORD} | changes
    assert (await ann.client.post(API_KEYS, json=body)).status_code == 422


async def test_key_takes_the_current_password(ann: Person) -> None:
    body = {"name": "Import", "scopes": API_KEY_SCOPES, "current_password": "wrong"}
    refused = await ann.client.post(API_KEYS, json=body)
    assert (refused.status_code, refused.json()["detail"]) == (
        403,
        "The current password is wrong.",
    )
    assert (await ann.client.get(API_KEYS)).json() == []


@pytest.mark.parametrize(
    "key", ["app_", "app_" + "x" * 43, "app_" + "x" * 44, "app_\udcff", "APP_" + "x" * 43]
)
async def test_unknown_key_returns_401(app: FastAPI, ann: Person, key: str) -> None:
    with pytest.raises(Exception, match="invalid"):
        await app.state.resources.accounts.authenticate(key)
    if key.isascii():
        assert await status_with(app, key) == 401


async def test_text_of_another_length_than_a_key_costs_no_query(app: FastAPI, ann: Person) -> None:
    async with counted_statements(app) as statements:
        assert await status_with(app, "app_" + "x" * 44) == 401
    assert statements == []


async def test_revoked_key_is_refused_at_once(app: FastAPI, ann: Person, bob: Person) -> None:
    created = await make_api_key(ann)
    url = f"{API_KEYS}/{created['id']}"
    for _ in range(3):  # so that it is in memory, on PostgreSQL
        assert await status_with(app, created["key"]) == 200
    assert (await bob.client.delete(url)).status_code == 404
    assert await status_with(app, created["key"]) == 200
    assert (await ann.client.delete(url)).status_code == 204
    assert await status_with(app, created["key"]) == 401
    assert (await ann.client.delete(url)).status_code == 404


async def test_expired_key_is_refused_and_deleted(app: FastAPI, ann: Person) -> None:
    key = (await make_api_key(ann))["key"]
    async with app.state.resources.database.transaction() as session:
        await session.execute(update(ApiKey).values(expires_at=utc_now() - timedelta(seconds=1)))
    assert await status_with(app, key) == 401
    assert (await ann.client.get(API_KEYS)).json() == []
    assert await app.state.resources.accounts.auth.clean_up() == 1


@pytest.mark.parametrize("end", ["deactivation", "password by a superuser", "reset", "deletion"])
async def test_keys_end_with_the_access_of_their_owner(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, root: Person, outbox: Outbox, end: str
) -> None:
    key = (await make_api_key(ann))["key"]
    for _ in range(2):
        assert await status_with(app, key) == 200
    match end:
        case "deactivation":
            await root.client.patch(f"/api/v1/users/{ann.id}", json={"is_active": False})
        case "password by a superuser":
            await app.state.resources.accounts.users.set_password(ann.id, NEW_PASSWORD)
        case "reset":
            await post_to_auth(client, "password-reset", email=ann.email)
            token = await outbox.token(ann.email, "reset")
            await reset_password(client, token)
        case _:
            await delete_account(ann)
    assert await status_with(app, key) == 401
    await root.client.patch(f"/api/v1/users/{ann.id}", json={"is_active": True})
    assert await status_with(app, key) == 401
    assert "api_key_revoked" in [kind for kind, *_ in await event_facts(app)]


async def test_key_outlives_a_change_of_the_password(app: FastAPI, ann: Person) -> None:
    key = (await make_api_key(ann))["key"]
    body = {"current_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert (await ann.client.post(f"{ME}/password", json=body)).status_code == 204
    assert await status_with(app, key) == 200


async def test_key_of_an_unconfirmed_user_is_refused_where_confirmation_is_required(
    app: FastAPI, ann: Person
) -> None:
    key = (await make_api_key(ann))["key"]
    database_url = app.state.settings.database_url.get_secret_value()
    async with running(make_settings(database_url, require_verified_email=True)) as strict:
        assert await status_with(strict, key) == 401


async def test_creation_first_use_and_revocation_are_recorded(app: FastAPI, ann: Person) -> None:
    created = await make_api_key(ann)
    for _ in range(3):
        assert await status_with(app, created["key"]) == 200
    await ann.client.delete(f"{API_KEYS}/{created['id']}")
    kinds = ["api_key_created", "api_key_first_used", "api_key_revoked"]
    assert await event_facts(app) == [(kind, "success", ann.id, ann.id) for kind in kinds]
    shown = (await ann.client.get(f"{ME}/security-events")).json()["results"]
    assert {event["session_id"] for event in shown} == {created["id"]}


async def test_creation_is_told_to_the_owner(ann: Person, outbox: Outbox) -> None:
    await make_api_key(ann)
    assert await outbox.to() == [(ann.email, "api_key_created")]
    body = {"name": "Import", "scopes": ["nonsense"], "current_password": PASSWORD}
    assert (await ann.client.post(API_KEYS, json=body)).status_code == 422
    assert len(await outbox.to()) == 1


async def test_first_use_by_several_requests_at_once_is_recorded_once(
    app: FastAPI, ann: Person
) -> None:
    key = (await make_api_key(ann))["key"]
    assert {*await asyncio.gather(*(status_with(app, key) for _ in range(8)))} == {200}
    assert [kind for kind, *_ in await event_facts(app)].count("api_key_first_used") == 1


async def test_last_use_is_written_once_an_hour(app: FastAPI, ann: Person) -> None:
    key = (await make_api_key(ann))["key"]
    assert await status_with(app, key) == 200
    first = (await stored_key(app)).last_used_at
    async with counted_statements(app) as statements:
        for _ in range(3):
            assert await status_with(app, key) == 200
    assert not [statement for statement in statements if "UPDATE" in statement]
    assert (await stored_key(app)).last_used_at == first
    app.state.resources.session_cache.forget_all()  # as an hour later, when the entry has ended
    async with app.state.resources.database.transaction() as session:
        hour_ago = utc_now() - timedelta(minutes=61)
        await session.execute(update(ApiKey).values(last_used_at=hour_ago))
    assert await status_with(app, key) == 200
    noted = (await stored_key(app)).last_used_at
    assert noted is not None
    assert noted > hour_ago
    assert [kind for kind, *_ in await event_facts(app)].count("api_key_first_used") == 1


async def test_key_works_while_its_use_cannot_be_noted(
    app: FastAPI, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = (await make_api_key(ann))["key"]

    async def fail(*_: Any) -> bool:
        raise DatabaseUnavailable("The database is read-only.")

    monkeypatch.setattr(ApiKeyRepository, "touch", fail)
    assert await status_with(app, key) == 200


async def test_number_of_keys_of_a_user_is_limited(
    app: FastAPI, ann: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "MAX_KEYS_OF_A_USER", 2)
    body = {"name": "Import", "scopes": API_KEY_SCOPES, "current_password": PASSWORD}
    calls = [ann.client.post(API_KEYS, json=body) for _ in range(4)]
    statuses = [response.status_code for response in await asyncio.gather(*calls)]
    assert sorted(statuses) == [201, 201, 409, 409]
    assert (await bob.client.post(API_KEYS, json=body)).status_code == 201
    async with app.state.resources.database.transaction() as session:
        await session.execute(update(ApiKey).values(expires_at=utc_now()))
    # Expired keys do not count.
    assert (await ann.client.post(API_KEYS, json=body)).status_code == 201


async def test_requests_of_a_key_are_limited_by_the_setting(app: FastAPI, ann: Person) -> None:
    first, second = (await make_api_key(ann))["key"], (await make_api_key(ann))["key"]
    database_url = app.state.settings.database_url.get_secret_value()
    settings = make_settings(database_url, rate_limit_api_key=parse("2/minute"))
    async with running(settings) as limited:
        statuses = [await status_with(limited, first) for _ in range(3)]
        assert statuses == [200, 200, 429]
        assert await status_with(limited, second) == 200
        assert await status_with(limited, ann.token) == 200


async def test_key_is_not_stored_with_an_idempotency_key(app: FastAPI, ann: Person) -> None:
    body = {"name": "Import", "scopes": API_KEY_SCOPES, "current_password": PASSWORD}
    headers = {"Idempotency-Key": "once"}
    keys = [
        (await ann.client.post(API_KEYS, json=body, headers=headers)).json()["key"]
        for _ in range(2)
    ]
    assert keys[0] != keys[1]


@only("postgresql")
@pytest.mark.parametrize(
    "end",
    [
        "DELETE FROM api_keys",
        "UPDATE api_keys SET expires_at = now() - interval '1 s'",
        "UPDATE api_keys SET key_hash = 'x'",
        "TRUNCATE api_keys",
        "UPDATE users SET is_active = false",
        "DELETE FROM users",
    ],
)
async def test_key_that_another_program_ends_is_refused(
    app: FastAPI, database_url: str, ann: Person, end: str
) -> None:
    key = (await make_api_key(ann))["key"]
    cache = await until_cache_is_held(app)
    while not cache._by_session:
        assert await status_with(app, key) == 200
    async with counted_statements(app) as statements:
        assert await status_with(app, key, "/api/v1/nothing") == 404
    assert statements == []
    await run_sql(database_url, end)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await status_with(app, key) != 401:
            pass


async def test_active_keys_are_told_apart_from_ended_ones(app: FastAPI, ann: Person) -> None:
    """Open WebSockets are closed by it."""
    kept, ended = await make_api_key(ann), await make_api_key(ann)
    await ann.client.delete(f"{API_KEYS}/{ended['id']}")
    (session,) = (await ann.client.get("/api/v1/auth/sessions")).json()
    given = [UUID(each["id"]) for each in (kept, ended, session)]
    active = await app.state.resources.accounts.auth.active_session_ids([*given, uuid4()])
    assert active == {given[0], given[2]}


@needs("pages.py")
async def test_page_makes_a_key_shows_it_once_and_revokes_it(app: FastAPI, ann: Person) -> None:
    async with browser_of(app) as browser:
        await sign_in(browser, ann)
        assert "Create the key" in (await browser.get("/account/api-keys/new")).text
        form = {"name": "<script>", "expires_in_days": "30", "current_password": "wrong"}
        refused = await browser.post("/account/api-keys/new", data=form)
        assert (refused.status_code, "Choose at least one scope." in refused.text) == (422, True)
        form[API_KEY_SCOPES[0]] = "true"
        refused = await browser.post("/account/api-keys/new", data=form)
        assert described(refused.text, "current_password") == "The current password is wrong."
        assert "<script>" not in refused.text
        form["current_password"] = PASSWORD
        done = await browser.post("/account/api-keys/new", data=form)
        assert (done.status_code, done.headers["Cache-Control"]) == (200, "no-store")
        (key,) = re.findall("<code>(app_[^<]+)</code>", done.text)
        assert await status_with(app, key) == 200
        page = (await browser.get("/account")).text
        assert key not in page
        assert f"{key[:10]}…" in page
        assert "&lt;script&gt;" in page
        (revoke,) = re.findall(r'action="(/account/api-keys/[^"]+/revoke)"', page)
        for _ in range(2):
            revoked = await browser.post(revoke)
            assert revoked.headers["Location"] == "/account"
        assert await status_with(app, key) == 401
        assert "Revoked an API key" in (await browser.get("/account")).text


@needs("pages.py")
async def test_page_revokes_a_key_after_a_recent_password(app: FastAPI, ann: Person) -> None:
    created = await make_api_key(ann)
    url = f"/account/api-keys/{created['id']}/revoke"
    async with browser_of(app) as browser:
        await sign_in(browser, ann)
        await set_age(app, 16)
        assert (await browser.post(url)).status_code == 403
        assert await status_with(app, created["key"]) == 200
        confirmed = await browser.post("/confirm", data={"current_password": PASSWORD})
        assert confirmed.status_code == 303
        assert (await browser.post(url)).status_code == 303
    assert await status_with(app, created["key"]) == 401


@needs("pages.py")
async def test_page_offers_the_scopes_of_the_owner(
    app: FastAPI, admin: httpx.AsyncClient, ann: Person
) -> None:
    async with browser_of(app) as browser:
        await sign_in(browser, ann)
        for client, is_superuser in ((browser, False), (admin, True)):
            page = (await client.get("/account/api-keys/new")).text
            found = re.findall('name="([^"]+)" type="checkbox"', page)
            assert found == sorted(key_scopes(is_superuser))


@needs("admin.py")
async def test_admin_only_reads_keys(admin: httpx.AsyncClient, ann: Person) -> None:
    created = await make_api_key(ann)
    listed = await admin.get("/admin/api-key/list")
    assert created["prefix"] in listed.text
    details = await admin.get(f"/admin/api-key/details/{created['id']}")
    for page in (listed, details, await admin.get("/admin/api-key/export/csv")):
        assert page.status_code == 200
        assert created["key"] not in page.text
        assert "hash" not in page.text
    for call in (
        admin.get("/admin/api-key/create"),
        admin.get(f"/admin/api-key/edit/{created['id']}"),
        admin.post("/admin/api-key/delete", data={f"select-{created['id']}": "on"}),
    ):
        assert (await call).status_code == 403


def test_key_scopes_are_some_of_those_of_their_owner() -> None:
    for is_superuser in (False, True):
        assert key_scopes(is_superuser) < allowed_scopes(is_superuser)
        assert not key_scopes(is_superuser) & {"account", "users:admin"}
    assert ApiKeyCreate.model_fields["expires_in_days"].default == 90
