"""Steps that the tests of accounts share, also with those of other slices."""

from collections.abc import Sequence
from datetime import timedelta
from io import BytesIO
from typing import Any

import httpx
from fastapi import FastAPI
from PIL import Image
from sqlalchemy import select, update

from app.accounts.models import RefreshToken, SecurityEvent
from app.accounts.scopes import key_scopes
from app.core.database.models import utc_now
from tests.accounts.conftest import Outbox
from tests.conftest import PASSWORD, Person, client_of

AUTH = "/api/v1/auth"
ME = "/api/v1/users/me"
API_KEYS = f"{ME}/api-keys"
API_KEY_SCOPES = sorted(key_scopes(False))
NEW_PASSWORD = "a better horse battery"


async def sign_in_to_api(client: httpx.AsyncClient, person: Person, **more: Any) -> dict[str, Any]:
    """Sign in by the password, and return the tokens."""
    form = {"grant_type": "password", "username": person.email, "password": PASSWORD}
    response = await client.post(f"{AUTH}/token", data=form | more)
    assert response.status_code == 200, response.text
    token: dict[str, Any] = response.json()
    return token


async def refresh(client: httpx.AsyncClient, token: Any, **more: Any) -> httpx.Response:
    form = {"grant_type": "refresh_token", "refresh_token": token}
    return await client.post(f"{AUTH}/token", data=form | more)


async def backdate_refresh_tokens(app: FastAPI, seconds: float) -> None:
    """Change the refresh tokens as if they had been used so many seconds earlier."""
    async with app.state.resources.database.transaction() as session:
        await session.execute(
            update(RefreshToken)
            .values(used_at=utc_now() - timedelta(seconds=seconds))
            .where(RefreshToken.used_at.is_not(None))
        )


async def is_accepted(app: FastAPI, access_token: Any) -> bool:
    """Return whether the access token is accepted on a new connection."""
    async with client_of(app, access_token) as client:
        return (await client.get(ME)).status_code == 200


async def post_to_auth(client: httpx.AsyncClient, path: str, **body: Any) -> int:
    """Send JSON to a route below /api/v1/auth, and return the status."""
    return (await client.post(f"{AUTH}/{path}", json=body)).status_code


async def reset_password(
    client: httpx.AsyncClient, token: str, password: str = NEW_PASSWORD
) -> int:
    """Follow the link in the mail, and return the status."""
    return await post_to_auth(client, "password-reset/confirm", token=token, password=password)


async def change_email(person: Person, email: str) -> None:
    body = {"email": email, "current_password": PASSWORD}
    assert (await person.client.patch(ME, json=body)).status_code == 200


async def change_and_confirm_email(
    client: httpx.AsyncClient, outbox: Outbox, person: Person, email: str
) -> None:
    await change_email(person, email)
    token = await outbox.token(email, "verify")
    status = await post_to_auth(client, "verify-email", token=token, current_password=PASSWORD)
    assert status == 204


async def make_api_key(person: Person, **changes: Any) -> dict[str, Any]:
    body = {"name": "Import", "scopes": API_KEY_SCOPES, "current_password": PASSWORD} | changes
    response = await person.client.post(API_KEYS, json=body)
    assert response.status_code == 201, response.text
    assert response.headers["Cache-Control"] == "no-store"
    created: dict[str, Any] = response.json()
    return created


async def recorded_events(app: FastAPI) -> Sequence[SecurityEvent]:
    async with app.state.resources.database.reading() as session:
        found: Sequence[SecurityEvent] = (
            await session.scalars(select(SecurityEvent).order_by(SecurityEvent.id))
        ).all()
    return found


async def event_facts(app: FastAPI) -> list[tuple[str, str, int | None, int | None]]:
    """Return the kind, the outcome, the subject and the actor of each security event."""
    events = await recorded_events(app)
    return [(each.kind, each.outcome, each.subject_id, each.actor_id) for each in events]


def make_image(color: str = "teal", format_: str = "PNG", width: int = 640) -> bytes:
    file = BytesIO()
    Image.new("RGB", (width, 320), color).save(file, format_)
    return file.getvalue()


async def run_queued_jobs(app: FastAPI) -> None:
    await app.state.resources.jobs.drain()
