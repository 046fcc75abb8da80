"""Limits on attempts to guess a password or a token."""

import asyncio
import time
from datetime import timedelta
from itertools import count, islice
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from limits import RateLimitItemPerHour, parse

from app.accounts.models import User
from app.accounts.service import attempts
from app.core.errors import TooManyRequests
from app.core.security.rate_limit import RateLimiter
from app.core.security.seals import InvalidSeal, Seals
from app.resources import PASSWORD_THREADS
from tests.conftest import (
    PASSWORD,
    SECRET_KEY,
    Person,
    browser_of,
    client_of,
    make_person,
    make_settings,
    running,
)
from tests.conftest import sign_in as sign_in_page
from tests.slices import needs

TOKEN = "/api/v1/auth/token"


@pytest.fixture
def settings(database_url: str) -> Any:
    return make_settings(database_url, rate_limit_login=parse("2/minute"))


async def sign_in(client: httpx.AsyncClient, username: str, password: str = "wrong") -> Any:
    form = {"grant_type": "password", "username": username, "password": password}
    return await client.post(TOKEN, data=form)


async def test_guesses_from_one_address_are_limited_by_account(
    client: httpx.AsyncClient, ann: Person
) -> None:
    for _ in range(2):
        assert (await sign_in(client, ann.email)).status_code == 400
    response = await sign_in(client, ann.email.upper(), PASSWORD)
    assert response.status_code == 429
    assert 0 < int(response.headers["Retry-After"]) <= 60
    assert response.headers["RateLimit-Policy"] == '"login";q=2;w=60'
    assert response.headers["Content-Type"] == "application/problem+json"


async def test_guesses_from_one_address_are_limited_over_all_accounts(
    client: httpx.AsyncClient,
) -> None:
    for n in range(20):
        assert (await sign_in(client, f"user{n}@example.com")).status_code == 400
    assert (await sign_in(client, "another@example.com")).status_code == 429


async def test_stranger_cannot_lock_a_user_out(app: FastAPI, ann: Person) -> None:
    async with client_of(app, address="192.0.2.1") as stranger:
        for _ in range(3):
            response = await sign_in(stranger, ann.email)
        assert response.status_code == 429
    async with client_of(app, address="192.0.2.2") as owner:
        assert (await sign_in(owner, ann.email, PASSWORD)).status_code == 200


ADDRESSES = count(1)


async def guess(app: FastAPI, email: str, number: int, **cookies: str) -> list[int]:
    """Send wrong passwords, each from a new address, and return the statuses."""
    statuses = []
    for n in islice(ADDRESSES, number):
        async with client_of(app, address=f"10.0.{n // 256}.{n % 256}") as client:
            client.cookies.update(cookies)
            statuses.append((await sign_in(client, email)).status_code)
    return statuses


@pytest.mark.parametrize("name", ["ann", "nobody"])
async def test_guesses_from_many_addresses_are_limited_by_account(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, bob: Person, name: str
) -> None:
    email = f"{name}@example.com"
    assert await guess(app, email, 21) == [400] * 20 + [429]
    response = await sign_in(client, email, PASSWORD)
    assert response.status_code == 429
    assert response.headers["RateLimit-Policy"] == '"login-failures";q=20;w=60'
    assert (await sign_in(client, bob.email, PASSWORD)).status_code == 200


async def test_guesses_at_once_are_limited_by_account(
    app: FastAPI, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "FAILURES", (RateLimitItemPerHour(2),))

    async def guess_from(address: str) -> int:
        async with client_of(app, address=address) as client:
            status: int = (await sign_in(client, ann.email)).status_code
            return status

    calls = [guess_from(f"192.0.2.{n}") for n in range(PASSWORD_THREADS + 5)]
    statuses = await asyncio.gather(*calls)
    # Those that are hashed at the same time are checked together.
    assert 2 <= statuses.count(400) < 2 + PASSWORD_THREADS
    assert set(statuses) == {400, 429}


async def test_steady_guesses_of_an_account_wait_longer_and_reach_a_hundred_an_hour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = start = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    limits = attempts.Attempts(RateLimiter(None, b"key"), parse("10/minute"))
    failures, waits = list[float](), list[int]()
    while now < start + 3 * 3600:
        address = f"192.0.2.{len(failures) % 6}"
        try:
            await limits.check_failures(address, "ann", is_known=False)
        except TooManyRequests as error:
            waits.append(error.reset_seconds)
            now += error.reset_seconds
        else:
            await limits.count_failure(address, "ann", is_known=False)
            failures.append(now)
    assert all(
        later - earlier >= 3600 for earlier, later in zip(failures, failures[100:], strict=False)
    )
    assert len(failures) >= 300
    assert waits[0] <= 60 < max(waits)


@needs("pages.py")
async def test_device_of_a_user_is_not_locked_out_by_strangers(
    app: FastAPI, ann: Person, bob: Person
) -> None:
    async with browser_of(app) as browser, browser_of(app) as other:
        await sign_in_page(browser, ann)
        await sign_in_page(other, bob)
        await guess(app, ann.email, 20)
        await sign_in_page(browser, ann)
        # The device of another user is a stranger's.
        assert await guess(app, ann.email, 1, device=other.cookies["device"]) == [429]
        # The known devices have a count, too: a thief of a cookie is limited.
        device = browser.cookies["device"]
        assert await guess(app, ann.email, 21, device=device) == [400] * 20 + [429]


@needs("pages.py")
async def test_known_devices_of_a_user_are_counted_together(app: FastAPI, ann: Person) -> None:
    async with browser_of(app) as browser, browser_of(app) as other:
        await sign_in_page(browser, ann)
        await sign_in_page(other, ann)
        await guess(app, ann.email, 20, device=browser.cookies["device"])
        assert await guess(app, ann.email, 1, device=other.cookies["device"]) == [429]


async def test_forged_device_is_a_stranger(app: FastAPI, ann: Person) -> None:
    await guess(app, ann.email, 20)
    async with app.state.resources.database.reading() as session:
        created_at = (await session.get_one(User, ann.id)).created_at.isoformat()
    forged = Seals("device", "another key").seal(ann.id, created_at)
    stored = Seals("second factor", SECRET_KEY).seal(ann.id, created_at)
    # SQLite may give the id of a deleted account again.
    deleted = Seals("device", SECRET_KEY).seal(ann.id, "2020-01-01T00:00:00+00:00")
    for device in (forged, stored, deleted, "", "x"):
        assert await guess(app, ann.email, 1, device=device) == [429]


async def test_device_is_decrypted_whether_the_address_has_an_account_or_not(
    app: FastAPI, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    decrypted = list[int]()

    def unseal(seals: Seals, user_id: int, sealed: str, max_age: timedelta | None = None) -> str:
        decrypted.append(user_id)
        raise InvalidSeal

    monkeypatch.setattr(Seals, "unseal", unseal)
    for email in (ann.email, "nobody@example.com"):
        await guess(app, email, 1, device=500 * "x")
        await guess(app, email, 1, device=501 * "x")
    assert decrypted == [ann.id, 0]


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8:0:{n:x}::1"])
async def test_guesses_from_one_site_do_not_lock_the_account_elsewhere(
    database_url: str, password_hash: str, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    async def refuse(password: str, hash_: str | None) -> tuple[bool, None]:
        return False, None

    monkeypatch.setattr(attempts, "FAILURES", (RateLimitItemPerHour(100),))
    settings = make_settings(database_url, rate_limit_login=parse("1000/minute"))
    async with running(settings) as app:
        ann = await make_person(app, password_hash, "ann")
        await ann.client.aclose()
        with monkeypatch.context() as patch:
            patch.setattr(app.state.resources.passwords, "verify", refuse)
            for n in range(101):
                async with client_of(app, address=address.format(n=n)) as client:
                    response = await sign_in(client, ann.email)
        assert response.status_code == 429
        async with client_of(app, address="198.51.100.1") as owner:
            assert (await sign_in(owner, ann.email, PASSWORD)).status_code == 200


async def test_guesses_from_the_networks_of_one_ipv6_site_are_limited(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, ann: Person
) -> None:
    async def verify(password: str, hash_: str | None) -> tuple[bool, None]:
        return False, None

    monkeypatch.setattr(attempts, "FAILURES", ())
    monkeypatch.setattr(app.state.resources.passwords, "verify", verify)
    statuses = []
    for n in range(21):
        async with client_of(app, address=f"2001:db8:0:{n:x}::1") as client:
            statuses.append((await sign_in(client, ann.email)).status_code)
    assert statuses == [400] * 20 + [429]
    async with client_of(app, address="2001:db8:1::1") as neighbor:
        assert (await sign_in(neighbor, ann.email)).status_code == 400


async def test_current_password_takes_a_hundred_guesses_an_hour() -> None:
    limits = attempts.Attempts(RateLimiter(None, b"key"), parse("1000/minute"))
    for _ in range(100):
        await limits.current_password(1)
    with pytest.raises(TooManyRequests):
        await limits.current_password(1)


async def test_guesses_of_the_current_password_are_limited(ann: Person) -> None:
    body = {"current_password": "wrong", "new_password": "a better horse battery"}
    url = "/api/v1/users/me/password"
    for expected in (403, 403, 429):
        assert (await ann.client.post(url, json=body)).status_code == expected


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/users", {"email": "eve@example.com", "password": PASSWORD}),
        ("/api/v1/auth/password-reset", {"email": "eve@example.com"}),
        ("/api/v1/auth/verify-email/resend", {"email": "eve@example.com"}),
    ],
)
async def test_sign_up_and_mail_requests_are_limited(
    client: httpx.AsyncClient, path: str, body: Any
) -> None:
    for _ in range(2):
        assert (await client.post(path, json=body)).status_code < 429
    assert (await client.post(path, json=body)).status_code == 429


async def test_stranger_cannot_use_up_the_mails_of_a_user(app: FastAPI) -> None:
    url, body = "/api/v1/auth/password-reset", {"email": "eve@example.com"}
    async with client_of(app, address="192.0.2.1") as stranger:
        statuses = [(await stranger.post(url, json=body)).status_code for _ in range(3)]
    assert statuses == [202, 202, 429]
    async with client_of(app, address="192.0.2.2") as owner:
        assert (await owner.post(url, json=body)).status_code == 202


async def test_refresh_is_not_limited(database_url: str) -> None:
    settings = make_settings(database_url, rate_limit_login=parse("1/minute"))
    async with running(settings) as app, client_of(app) as client:
        form = {"grant_type": "refresh_token", "refresh_token": "x"}
        for _ in range(3):
            assert (await client.post(TOKEN, data=form)).status_code == 400
