from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select, update

from app.accounts.models import User
from app.core.database.models import utc_now
from app.features.passkeys.models import Passkey
from tests.accounts.conftest import authenticator, outbox
from tests.conftest import PASSWORD, Person
from tests.features.passkeys.device import Device

__all__ = ["authenticator", "outbox"]

PASSKEYS = "/api/v1/users/me/passkeys"
OPTIONS, VERIFY = "/api/v1/auth/passkeys/options", "/api/v1/auth/passkeys/verify"


@pytest.fixture
async def ann(app: FastAPI, ann: Person) -> Person:
    """Return a user with a confirmed address."""
    await verify_addresses(app)
    return ann


async def verify_addresses(app: FastAPI) -> None:
    async with app.state.resources.database.transaction() as session:
        await session.execute(update(User).values(email_verified_at=utc_now()))


async def begin(person: Person) -> dict[str, Any]:
    """Return the options for a new passkey, and their token."""
    response = await person.client.post(f"{PASSKEYS}/options", json={"current_password": PASSWORD})
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


async def add(person: Person, device: Device, name: str = "Phone") -> dict[str, Any]:
    begun = await begin(person)
    body = {"token": begun["token"], "credential": device.make(begun["options"]), "name": name}
    response = await person.client.post(PASSKEYS, json=body)
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.json()
    return found


async def answer(client: httpx.AsyncClient, device: Device, **changes: Any) -> dict[str, Any]:
    """Return the body of a sign-in with a passkey, alone."""
    begun = (await client.post(OPTIONS, json={})).json()
    return {"token": begun["token"], "credential": device.answer(begun["options"], **changes)}


async def stored(app: FastAPI) -> list[Passkey]:
    async with app.state.resources.database.reading() as session:
        return [*await session.scalars(select(Passkey).order_by(Passkey.created_at))]
