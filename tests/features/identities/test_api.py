"""The identities of an account, in the API."""

from uuid import uuid4

import httpx
from fastapi import FastAPI

from app.accounts.models import NO_PASSWORD, User
from app.features.identities.models import LinkedIdentity
from tests.accounts.conftest import CONFIRM, Outbox, set_age
from tests.accounts.steps import event_facts
from tests.conftest import PASSWORD, Person
from tests.features.identities.conftest import owners
from tests.features.identities.provider import Provider

IDENTITIES = "/api/v1/users/me/identities"


async def add_identity(
    app: FastAPI, person: Person, issuer: str, *, has_password: bool = True
) -> None:
    async with app.state.resources.database.transaction() as session:
        subject = str(uuid4())
        session.add(
            LinkedIdentity(user_id=person.id, issuer=issuer, subject=subject, email="a@b.c")
        )
        if not has_password:
            (await session.get_one(User, person.id)).password_hash = NO_PASSWORD


async def test_user_lists_and_unlinks_own_identities(
    app: FastAPI, provider: Provider, ann: Person, bob: Person, outbox: Outbox
) -> None:
    await add_identity(app, ann, provider.url)
    (found,) = (await ann.client.get(IDENTITIES)).json()
    assert (found["provider"], found["issuer"]) == ("One", provider.url)
    assert (found["email"], found["last_used_at"]) == ("a@b.c", None)
    assert (await bob.client.get(IDENTITIES)).json() == []
    path = f"{IDENTITIES}/{found['id']}"
    assert (await bob.client.delete(path)).status_code == 404
    assert (await ann.client.delete(path)).status_code == 204
    assert (await ann.client.delete(path)).status_code == 404
    assert await owners(app) == []
    assert (await event_facts(app))[-1][:2] == ("identity_unlinked", "success")
    assert ("ann@example.com", "identity_unlinked") in await outbox.to()


async def test_unlinking_takes_a_recent_password(
    app: FastAPI, provider: Provider, ann: Person
) -> None:
    await add_identity(app, ann, provider.url)
    (found,) = (await ann.client.get(IDENTITIES)).json()
    path = f"{IDENTITIES}/{found['id']}"
    await set_age(app, 16)
    refused = await ann.client.delete(path)
    assert (refused.status_code, refused.json()["type"]) == (403, "/problems/password-required")
    await ann.client.post(CONFIRM, json={"current_password": PASSWORD})
    assert (await ann.client.delete(path)).status_code == 204


async def test_identity_of_a_provider_that_is_not_configured_signs_nobody_in(
    app: FastAPI, provider: Provider, ann: Person
) -> None:
    await add_identity(app, ann, "https://former.example")
    await add_identity(app, ann, provider.url, has_password=False)
    former, present = (await ann.client.get(IDENTITIES)).json()
    assert (await ann.client.delete(f"{IDENTITIES}/{present['id']}")).status_code == 409
    assert (await ann.client.delete(f"{IDENTITIES}/{former['id']}")).status_code == 204


async def test_identity_of_a_provider_that_is_not_configured_any_more_is_listed(
    app: FastAPI, ann: Person
) -> None:
    await add_identity(app, ann, "https://former.example")
    (found,) = (await ann.client.get(IDENTITIES)).json()
    assert found["provider"] == "https://former.example"


async def test_last_way_to_sign_in_stays(app: FastAPI, provider: Provider, ann: Person) -> None:
    await add_identity(app, ann, provider.url, has_password=False)
    (found,) = (await ann.client.get(IDENTITIES)).json()
    refused = await ann.client.delete(f"{IDENTITIES}/{found['id']}")
    assert refused.status_code == 409
    assert refused.json()["detail"] == "This is your only way to sign in. Set a password first."
    assert len(await owners(app)) == 1


async def test_identities_take_an_access_token(client: httpx.AsyncClient) -> None:
    assert (await client.get(IDENTITIES)).status_code == 401


async def test_operation_that_takes_the_password_says_that_there_is_none(
    app: FastAPI, provider: Provider, ann: Person
) -> None:
    await add_identity(app, ann, provider.url, has_password=False)
    for password in (NO_PASSWORD, ""):
        body = {"current_password": password}
        refused = await ann.client.request("DELETE", "/api/v1/users/me", json=body)
        assert refused.status_code == 403
        assert "Your account has no password." in refused.json()["detail"]


async def test_identity_ends_with_the_account(
    app: FastAPI, provider: Provider, ann: Person
) -> None:
    await add_identity(app, ann, provider.url)
    await app.state.resources.accounts.users.delete(ann.id)
    assert await owners(app) == []
