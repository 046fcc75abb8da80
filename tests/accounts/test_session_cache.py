"""Verified sessions in memory: what ends in one process is refused by all of them."""

import asyncio
import time

import pytest
from fastapi import FastAPI

from app.accounts import session_cache
from app.accounts.session_cache import SessionCache, SessionLease
from tests.accounts.session_cache import counted_session_look_ups, until_cache_is_held
from tests.conftest import (
    Person,
    browser_of,
    client_of,
    make_person,
    make_settings,
    only,
    running,
    sign_in,
)
from tests.databases import run_sql
from tests.isolation import DEADLINE_SECONDS
from tests.slices import needs
from tests.waiting import eventually_true

ME = "/api/v1/users/me"
pytestmark = only("postgresql")

# Whoever does it: here it is another program.
ENDS = {
    "sign-out": "DELETE FROM auth_sessions",
    "expiry": "UPDATE auth_sessions SET expires_at = now() - interval '1 s'",
    "deactivation": "UPDATE users SET is_active = false",
    "deletion": "DELETE FROM users",
    "emptied": "TRUNCATE users CASCADE",
}


async def status_of(person: Person) -> int:
    return (await person.client.get(ME)).status_code


async def test_known_token_costs_no_query(app: FastAPI, ann: Person) -> None:
    await until_cache_is_held(app)
    async with counted_session_look_ups(app) as look_ups:
        for _ in range(3):
            assert await status_of(ann) == 200
    assert len(look_ups) == 1


@needs("pages.py")
async def test_known_cookie_costs_no_query(app: FastAPI, ann: Person) -> None:
    await until_cache_is_held(app)
    async with browser_of(app) as browser:
        await sign_in(browser, ann)
        cache: SessionCache = app.state.resources.session_cache
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not cache._entries:  # the sign-in may have renewed the hash, which is heard later
                await browser.get("/items")
        async with counted_session_look_ups(app) as look_ups:
            for _ in range(3):
                assert (await browser.get("/items")).status_code == 200
    assert look_ups == []


@pytest.mark.parametrize("end", ENDS)
async def test_end_by_another_program_is_heard(
    app: FastAPI, database_url: str, ann: Person, end: str
) -> None:
    await until_cache_is_held(app)
    assert await status_of(ann) == 200
    await run_sql(database_url, ENDS[end])
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await status_of(ann) != 401:
            pass


async def test_new_role_is_heard(app: FastAPI, database_url: str, root: Person) -> None:
    await until_cache_is_held(app)
    assert (await root.client.get("/api/v1/users")).status_code == 200
    await run_sql(database_url, "UPDATE users SET is_superuser = false")
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (await root.client.get("/api/v1/users")).status_code != 403:
            pass


@needs("pages.py")
async def test_new_picture_is_heard(app: FastAPI, database_url: str, ann: Person) -> None:
    await until_cache_is_held(app)
    async with browser_of(app) as browser:
        await sign_in(browser, ann)
        assert "portrait" not in (await browser.get("/account/delete")).text
        await run_sql(database_url, "UPDATE users SET picture_key = 'pictures/a', picture_size = 1")
        async with asyncio.timeout(DEADLINE_SECONDS):
            while "portrait" not in (await browser.get("/account/delete")).text:
                pass


async def test_address_that_is_not_confirmed_any_more_is_heard(
    database_url: str, password_hash: str
) -> None:
    async with running(make_settings(database_url, require_verified_email=True)) as app:
        ann = await make_person(app, password_hash, "ann")
        await run_sql(database_url, "UPDATE users SET email_verified_at = now()")
        await until_cache_is_held(app)
        async with ann.client:
            assert await status_of(ann) == 200
            await run_sql(database_url, "UPDATE users SET email_verified_at = NULL")
            async with asyncio.timeout(DEADLINE_SECONDS):
                while await status_of(ann) != 401:
                    pass


async def test_process_that_ends_a_session_refuses_it_at_once(app: FastAPI, ann: Person) -> None:
    await until_cache_is_held(app)
    assert await status_of(ann) == 200
    await ann.client.post("/api/v1/auth/revoke", data={"token": ann.token})
    assert await status_of(ann) == 401


async def test_process_that_demotes_a_user_ends_their_session_at_once(
    app: FastAPI, root: Person, bob: Person
) -> None:
    await until_cache_is_held(app)
    url = f"/api/v1/users/{root.id}"
    await root.client.patch(f"/api/v1/users/{bob.id}", json={"is_superuser": True})
    assert (await root.client.patch(url, json={"is_superuser": False})).status_code == 200
    assert (await root.client.get("/api/v1/users")).status_code == 401


async def test_end_between_the_look_up_and_its_answer_is_not_missed(
    app: FastAPI, ann: Person
) -> None:
    cache = await until_cache_is_held(app)
    change_count = cache.change_count
    assert await status_of(ann) == 200
    entry = next(iter(cache._entries.values()))
    cache.forget_session(entry.principal.session_id)
    cache.put(change_count, b"late", entry.principal, time.time() + 60)
    assert cache.get(b"late") is None


async def test_cut_listener_serves_nothing_from_memory(
    app: FastAPI, database_url: str, ann: Person
) -> None:
    cache = await until_cache_is_held(app)
    assert await status_of(ann) == 200
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
    await run_sql(database_url, f"{cut} AND datname = current_database()")
    await eventually_true(lambda: not cache.is_held)
    await run_sql(database_url, ENDS["sign-out"])
    assert await status_of(ann) == 401
    await until_cache_is_held(app)
    assert await status_of(ann) == 401


async def test_heartbeat_that_is_not_heard_ends_the_lease(
    app: FastAPI, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pooler may ignore LISTEN, and a connection may go silent."""
    monkeypatch.setattr(session_cache, "LEASE_SECONDS", 0.2)
    monkeypatch.setattr(app.state.resources.session_lease, "_name", "not heard")
    cache: SessionCache = app.state.resources.session_cache
    await eventually_true(lambda: not cache.is_held)
    async with counted_session_look_ups(app) as look_ups:
        for _ in range(3):
            assert await status_of(ann) == 200
    assert len(look_ups) == 3


@pytest.mark.parametrize(
    "lost",
    [
        "DROP TRIGGER notify_user_changed ON users",
        "ALTER TABLE auth_sessions DISABLE TRIGGER notify_session_ended",
    ],
)
async def test_schema_without_triggers_grants_no_lease(own_database_url: str, lost: str) -> None:
    """A process may run on an older schema, or one that was restored without them."""
    await run_sql(own_database_url, lost)
    async with running(make_settings(own_database_url)) as app:
        lease: SessionLease = app.state.resources.session_lease
        await eventually_true(lambda: lease._is_reported)
        assert not app.state.resources.session_cache.is_held


async def test_lease_is_held_with_options_in_the_url(database_url: str) -> None:
    url = f"{database_url}?ssl=prefer&application_name=web"
    async with running(make_settings(url)) as app:
        await until_cache_is_held(app)


async def test_busy_pool_does_not_end_the_listener(
    database_url: str, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_cache, "LEASE_SECONDS", 0.3)
    monkeypatch.setattr(session_cache, "HEARTBEAT_SECONDS", 0.1)
    async with running(make_settings(database_url, database_pool_size=1)) as app:
        cache = await until_cache_is_held(app)
        async with app.state.resources.database.reading() as session:
            await session.connection()
            await eventually_true(lambda: not cache.is_held)
        await until_cache_is_held(app)


async def test_update_that_changes_nothing_is_not_told(
    app: FastAPI, database_url: str, ann: Person
) -> None:
    cache = await until_cache_is_held(app)
    assert await status_of(ann) == 200
    changes = cache.change_count
    later = "SELECT pg_notify('auth_sessions', 'user:0')"
    await run_sql(database_url, "UPDATE users SET is_active = is_active", later)
    await eventually_true(lambda: cache.change_count != changes)
    assert cache._by_user


@needs("pages.py")
async def test_cookie_is_no_token_while_it_is_in_memory(app: FastAPI, ann: Person) -> None:
    await until_cache_is_held(app)
    async with browser_of(app) as browser:
        await sign_in(browser, ann)
        cache: SessionCache = app.state.resources.session_cache
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not cache._entries:
                await browser.get("/items")
        (cookie,) = [value for name, value in browser.cookies.items() if "session" in name]
    for token in (cookie, f"cookie:{cookie}"):
        async with client_of(app, token) as client:
            assert (await client.get(ME)).status_code == 401


async def test_session_cache_can_be_switched_off(database_url: str) -> None:
    settings = make_settings(database_url, session_cache=False)
    async with running(settings) as app, client_of(app) as client:
        assert (await client.get("/health/ready")).status_code == 200
        assert app.state.resources.session_lease._task is None


async def test_memory_is_bounded(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, ann: Person
) -> None:
    monkeypatch.setattr(session_cache, "MAX_ENTRIES", 3)
    cache = await until_cache_is_held(app)
    assert await status_of(ann) == 200
    principal = next(iter(cache._entries.values())).principal
    for n in range(10):
        cache.put(cache.change_count, f"{n}".encode(), principal, time.time() + 60)
    assert [*cache._entries] == [b"7", b"8", b"9"]
    assert cache._by_session == {principal.session_id: {b"7", b"8", b"9"}}


async def test_entry_ends_with_its_token(app: FastAPI, ann: Person) -> None:
    cache = await until_cache_is_held(app)
    assert await status_of(ann) == 200
    principal = next(iter(cache._entries.values())).principal
    cache.put(cache.change_count, b"expired", principal, time.time() - 1)
    assert cache.get(b"expired") is None
