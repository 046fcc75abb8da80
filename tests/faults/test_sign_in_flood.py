"""Tests of one correct sign-in during many wrong ones from other networks."""

import asyncio
import threading
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from limits import parse
from passlib.context import CryptContext

from app.core.config import Settings
from app.core.security.fair_queue import FairQueue
from tests.conftest import PASSWORD, Person, client_of, make_settings
from tests.isolation import DEADLINE_SECONDS
from tests.waiting import eventually_async

TOKEN = "/api/v1/auth/token"
NETWORKS = [f"192.0.2.{n}" for n in range(1, 5)]
SIGN_INS_PER_NETWORK = 50


@pytest.fixture
def settings(database_url: str) -> Settings:
    return make_settings(database_url, rate_limit_login=parse("1000/minute"))


async def sign_in(client: httpx.AsyncClient, username: str, password: str) -> int:
    form = {"grant_type": "password", "username": username, "password": password}
    return (await client.post(TOKEN, data=form)).status_code


@pytest.mark.slow("it hashes hundreds of passwords")
async def test_sign_in_overtakes_a_flood_from_other_networks(
    app: FastAPI, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed, began, release = list[str](), threading.Event(), threading.Event()
    verify = CryptContext.verify_and_update

    def verify_after_release(self: CryptContext, secret: str, *rest: Any) -> Any:
        began.set()
        assert release.wait(DEADLINE_SECONDS)
        hashed.append(secret)
        return verify(self, secret, *rest)

    monkeypatch.setattr(CryptContext, "verify_and_update", verify_after_release)
    wait, waiting = FairQueue._wait, set[str]()

    async def record_and_wait(self: FairQueue, key: str) -> None:
        waiting.add(key)
        await wait(self, key)

    async def is_waiting(key: str) -> bool:
        return key in waiting

    monkeypatch.setattr(FairQueue, "_wait", record_and_wait)
    clients = [client_of(app, address=network) for network in NETWORKS]
    flood = [
        asyncio.create_task(sign_in(client, f"{n}@example.com", "wrong"))
        for n in range(SIGN_INS_PER_NETWORK)
        for client in clients
    ]
    assert await asyncio.to_thread(began.wait, DEADLINE_SECONDS)
    async with client_of(app, address="192.0.2.9") as stranger:
        good = asyncio.create_task(sign_in(stranger, ann.email, PASSWORD))
        await eventually_async(lambda: is_waiting("192.0.2.9"))
        release.set()
        assert await good == 200
    assert {*await asyncio.gather(*flood)} <= {400, 503}
    assert hashed.index(PASSWORD) <= 2 * len(NETWORKS)
    for client in clients:
        await client.aclose()
