"""What an attacker sends in place of the answer of a passkey."""

import asyncio
from copy import deepcopy
from datetime import timedelta
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import func, select, update

from app.core.database.models import utc_now
from app.core.errors import Unauthenticated
from app.features.passkeys.dependencies import get_passkey_service
from app.features.passkeys.models import Passkey, UsedPasskeyChallenge
from app.features.passkeys.schemas import PasskeyCreate
from app.features.passkeys.service import challenges
from tests.accounts.conftest import FACTOR, Outbox
from tests.accounts.steps import change_and_confirm_email, event_facts, post_to_auth
from tests.conftest import PASSWORD, Person, client_of
from tests.features.passkeys.conftest import (
    OPTIONS,
    PASSKEYS,
    VERIFY,
    add,
    answer,
    begin,
    stored,
    verify_addresses,
)
from tests.features.passkeys.device import PRESENT, VERIFIED, Device, base64url

LIES: list[dict[str, Any]] = [
    {"origin": "https://evil.example"},
    {"origin": "http://localhost:8001"},
    {"origin": "http://localhost:8000.evil.example"},
    {"challenge": base64url(b"another challenge")},
    {"rp_id": "evil.example"},
    {"flags": PRESENT},  # The user was not verified.
    {"flags": VERIFIED},  # The user was not present.
    {"type": "webauthn.other"},
]


async def refuses(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    refused = await client.post(VERIFY, json=body)
    assert refused.status_code == 400
    assert refused.json()["error"] == "invalid_grant"


@pytest.mark.parametrize("lie", LIES, ids=str)
async def test_forged_answer_is_refused_and_recorded(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, lie: dict[str, Any]
) -> None:
    device = Device()
    await add(ann, device)
    await refuses(client, await answer(client, device, **lie))
    assert (await event_facts(app))[-1] == ("passkey_check", "failure", ann.id, None)


@pytest.mark.parametrize("lie", LIES, ids=str)
async def test_forged_passkey_is_not_added(app: FastAPI, ann: Person, lie: dict[str, Any]) -> None:
    begun = await begin(ann)
    credential = Device().make(begun["options"], **lie)
    body = {"token": begun["token"], "credential": credential, "name": "Phone"}
    assert (await ann.client.post(PASSKEYS, json=body)).status_code == 422
    assert await stored(app) == []


async def test_passkey_is_not_added_by_a_request_that_outlives_its_session(
    app: FastAPI, ann: Person
) -> None:
    """The owner may have reset the password while the request of a thief was under way."""
    resources = app.state.resources
    principal = await resources.accounts.authenticate(ann.token)
    service = await get_passkey_service(resources)
    begun = await service.begin_confirmed_creation(principal)
    credential = Device().make(begun.options)
    data = PasskeyCreate(token=SecretStr(begun.token), credential=credential, name="Phone")
    await resources.accounts.auth.end_sessions([principal.session_id])
    with pytest.raises(Unauthenticated):
        await service.create(principal, data)
    assert await stored(app) == []


async def test_answer_of_another_key_is_refused(client: httpx.AsyncClient, ann: Person) -> None:
    device = Device()
    await add(ann, device)
    another = ec.generate_private_key(ec.SECP256R1())
    await refuses(client, await answer(client, device, key=another))


async def test_unknown_passkey_is_refused(client: httpx.AsyncClient, ann: Person) -> None:
    await refuses(client, await answer(client, Device()))


async def test_answer_is_accepted_once(client: httpx.AsyncClient, ann: Person) -> None:
    device = Device(counts=False)
    await add(ann, device)
    body = await answer(client, device)
    assert (await client.post(VERIFY, json=body)).status_code == 200
    await refuses(client, body)


async def test_answer_sent_twice_at_once_is_accepted_once(
    client: httpx.AsyncClient, ann: Person
) -> None:
    device = Device(counts=False)
    await add(ann, device)
    body = await answer(client, device)
    done = await asyncio.gather(*(client.post(VERIFY, json=body) for _ in range(2)))
    assert sorted(each.status_code for each in done) == [200, 400]


async def test_challenge_is_used_up_by_a_wrong_answer(
    client: httpx.AsyncClient, ann: Person
) -> None:
    device = Device()
    await add(ann, device)
    begun = (await client.post(OPTIONS, json={})).json()
    for lie in ({"origin": "https://evil.example"}, {}):
        credential = device.answer(begun["options"], **lie)
        await refuses(client, {"token": begun["token"], "credential": credential})


async def test_old_challenge_is_refused(
    client: httpx.AsyncClient, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device()
    await add(ann, device)
    body = await answer(client, device)
    monkeypatch.setattr(challenges, "CHALLENGE_LIFETIME", timedelta(seconds=-10))
    await refuses(client, body)


async def test_forged_token_is_refused(client: httpx.AsyncClient, ann: Person) -> None:
    device = Device()
    await add(ann, device)
    body = await answer(client, device)
    for token in ("", "x", body["token"][:-4] + "AAA="):
        await refuses(client, body | {"token": token})


async def test_count_that_goes_back_is_refused_and_recorded(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    device = Device(count=10)
    await add(ann, device)
    for count in (10, 9, 0):
        await refuses(client, await answer(client, device, count=count))
        assert (await event_facts(app))[-1] == ("passkey_cloned", "failure", ann.id, None)
    assert (await client.post(VERIFY, json=await answer(client, device, count=11))).is_success


async def test_two_copies_with_one_count_sign_in_once(
    client: httpx.AsyncClient, ann: Person
) -> None:
    device = Device()
    await add(ann, device)
    bodies = [await answer(client, device, count=7) for _ in range(2)]
    done = await asyncio.gather(*(client.post(VERIFY, json=body) for body in bodies))
    assert sorted(each.status_code for each in done) == [200, 400]


async def test_passkey_of_another_user_is_no_second_factor(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, bob: Person
) -> None:
    await verify_addresses(app)
    anns, bobs = Device(), Device()
    await add(ann, anns)
    await add(bob, bobs)
    form = {"grant_type": "password", "username": "ann@example.com", "password": PASSWORD}
    challenge = (await client.post("/api/v1/auth/token", data=form)).json()["challenge"]
    begun = (await client.post(OPTIONS, json={"challenge": challenge})).json()
    body = {"token": begun["token"], "challenge": challenge}
    await refuses(client, body | {"credential": bobs.answer(begun["options"])})
    assert (await event_facts(app))[-1] == ("passkey_check", "failure", bob.id, None)


async def test_handle_of_another_user_is_refused(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, bob: Person
) -> None:
    await verify_addresses(app)
    anns, bobs = Device(), Device()
    await add(ann, anns)
    await add(bob, bobs)
    assert anns.user_handle != bobs.user_handle
    await refuses(client, await answer(client, anns, user_handle=bobs.user_handle))


async def test_challenge_of_one_purpose_sign_in_or_session_is_not_that_of_another(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, bob: Person
) -> None:
    await verify_addresses(app)
    device = Device()
    await add(ann, device)
    form = {"grant_type": "password", "username": "ann@example.com", "password": PASSWORD}
    first, second = [
        (await client.post("/api/v1/auth/token", data=form)).json()["challenge"] for _ in range(2)
    ]
    begun = (await client.post(OPTIONS, json={"challenge": first})).json()
    body = {"token": begun["token"], "credential": device.answer(begun["options"])}
    await refuses(client, body)  # as a sign-in without a password
    await refuses(client, body | {"challenge": second})
    alone = await answer(client, device)
    await refuses(client, alone | {"challenge": first})
    registration = await begin(ann)
    credential = Device().make(registration["options"])
    other = {"token": registration["token"], "credential": credential, "name": "Phone"}
    refused = await bob.client.post(PASSKEYS, json=other)
    assert refused.status_code == 400
    assert len(await stored(app)) == 1


async def test_undone_change_of_the_address_discards_what_a_thief_may_have_added(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, outbox: Outbox
) -> None:
    """A passkey that the owner has had for longer signs in afterwards. The codes have ended."""
    owners, thiefs = Device(), Device()
    await add(ann, owners)
    async with app.state.resources.database.transaction() as session:
        await session.execute(update(Passkey).values(created_at=utc_now() - timedelta(days=4)))
    await add(ann, thiefs, "Before the change")
    await change_and_confirm_email(client, outbox, ann, "thief@example.com")
    await add(ann, Device(), "After the change")
    token = await outbox.token(ann.email, "undo")
    assert await post_to_auth(client, "undo-email", token=token) == 204
    assert [passkey.name for passkey in await stored(app)] == ["Phone"]
    await refuses(client, await answer(client, thiefs))
    done = await client.post(VERIFY, json=await answer(client, owners))
    async with client_of(app, done.json()["access_token"]) as signed_in:
        assert (await signed_in.get(FACTOR)).json()["recovery_codes_left"] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"id": 7},
        {"rawId": "AAAA"},
        {"type": "other"},
        {"response": None},
        {"response": []},
        {"response": {"clientDataJSON": "x"}},
        {"id": "a\x00b"},
        {"id": "é"},
    ],
    ids=str,
)
async def test_malformed_credential_is_refused(
    client: httpx.AsyncClient, ann: Person, change: dict[str, Any]
) -> None:
    device = Device()
    await add(ann, device)
    body = deepcopy(await answer(client, device))
    body["credential"] |= change
    await refuses(client, body)


@pytest.mark.parametrize("part", ["clientDataJSON", "authenticatorData", "signature"])
async def test_random_bytes_are_refused(client: httpx.AsyncClient, ann: Person, part: str) -> None:
    device = Device()
    await add(ann, device)
    for content in (b"", b"\x00", b"[" * 10_000, b"\xa1\x01" * 50, bytes(200)):
        body = await answer(client, device)
        body["credential"]["response"][part] = base64url(content)
        await refuses(client, body)


async def test_random_attestation_is_refused(app: FastAPI, ann: Person) -> None:
    for content in (b"", b"\x00", b"\x81" * 10_000, b"\xa1\x01" * 50, bytes(200)):
        begun = await begin(ann)
        credential = Device().make(begun["options"])
        credential["response"]["attestationObject"] = base64url(content)
        body = {"token": begun["token"], "credential": credential, "name": "Phone"}
        assert (await ann.client.post(PASSKEYS, json=body)).status_code == 422
    assert await stored(app) == []


async def test_deactivated_user_does_not_sign_in(
    client: httpx.AsyncClient, ann: Person, root: Person
) -> None:
    device = Device()
    await add(ann, device)
    await root.client.patch(f"/api/v1/users/{ann.id}", json={"is_active": False})
    await refuses(client, await answer(client, device))


async def test_used_challenges_are_deleted_when_they_have_expired(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def count() -> int:
        async with app.state.resources.database.reading() as session:
            return await session.scalar(select(func.count()).select_from(UsedPasskeyChallenge)) or 0

    await add(ann, Device())
    service = await get_passkey_service(app.state.resources)
    await service.clean_up()
    assert await count() == 1
    monkeypatch.setattr(
        "app.features.passkeys.repository.utc_now", lambda: utc_now() + timedelta(hours=1)
    )
    await service.clean_up()
    assert await count() == 0
