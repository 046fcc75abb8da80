"""The second factor in the API: codes of an authenticator app, and recovery codes."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from limits import parse
from sqlalchemy import select, update

from app.accounts.models import RecoveryCode, SecondFactor, SignInChallenge
from app.accounts.service import attempts, second_factor
from app.core.database.models import utc_now
from app.core.security.seals import InvalidSeal, Seals
from tests.accounts.conftest import FACTOR, Authenticator, Outbox, verify_address
from tests.accounts.steps import (
    event_facts,
    is_accepted,
    make_api_key,
    post_to_auth,
    refresh,
    reset_password,
    sign_in_to_api,
)
from tests.conftest import (
    PASSWORD,
    SECRET_KEY,
    Person,
    client_of,
    make_person,
    make_settings,
    running,
)
from tests.slices import needs

TOKEN = "/api/v1/auth/token"
UNCONFIRMED = "Confirm your email address first."
COMPLETE = "/api/v1/auth/second-factor"
ME = "/api/v1/users/me"


@pytest.fixture
async def ann(app: FastAPI, ann: Person) -> Person:
    """Return a user with a confirmed address."""
    await verify_address(app, ann)
    return ann


async def enter_password(
    client: httpx.AsyncClient, person: Person, **fields: str
) -> httpx.Response:
    form = {"grant_type": "password", "username": person.email, "password": PASSWORD}
    return await client.post(TOKEN, data=form | fields)


async def challenge_of(client: httpx.AsyncClient, person: Person, **fields: str) -> str:
    response = await enter_password(client, person, **fields)
    assert (response.status_code, response.json()["error"]) == (400, "second_factor_required")
    challenge: str = response.json()["challenge"]
    return challenge


async def complete(client: httpx.AsyncClient, challenge: str, code: str) -> httpx.Response:
    return await client.post(COMPLETE, json={"challenge": challenge, "code": code})


async def refuse(client: httpx.AsyncClient, challenge: str, code: str) -> str:
    response = await complete(client, challenge, code)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    detail: str = response.json()["detail"]
    return detail


async def test_sign_in_takes_a_code_after_the_password(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, authenticator: Authenticator
) -> None:
    await authenticator.set_up(ann)
    assert (await ann.client.get(ME)).status_code == 200  # the session goes on
    challenge = await challenge_of(client, ann, scope="account")
    code = authenticator.next_code()
    response = await complete(client, challenge, f"{code[:3]} {code[3:]}")
    assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-store")
    assert response.json()["scope"] == "account"
    async with client_of(app, response.json()["access_token"]) as signed_in:
        state = (await signed_in.get(FACTOR)).json()
    assert (state["is_enabled"], state["recovery_codes_left"]) == (True, 10)
    assert (await refresh(client, response.json()["refresh_token"])).status_code == 200
    assert "Sign in again" in await refuse(client, challenge, authenticator.next_code())
    assert await event_facts(app) == [
        ("second_factor_enabled", "success", ann.id, ann.id),
        ("second_factor_requested", "success", ann.id, ann.id),
        ("sign_in", "success", ann.id, ann.id),
    ]


async def test_account_with_an_unconfirmed_address_gets_no_app(
    app: FastAPI, ann: Person, authenticator: Authenticator
) -> None:
    """Whoever signs up with the address of somebody else would keep them out of their account."""
    await verify_address(app, ann, is_verified=False)
    proof = {"current_password": PASSWORD}
    refused = await ann.client.post(f"{FACTOR}/set-up", json=proof)
    assert (refused.status_code, refused.json()["detail"]) == (403, UNCONFIRMED)
    await verify_address(app, ann)
    begun = (await ann.client.post(f"{FACTOR}/set-up", json=proof)).json()
    await verify_address(app, ann, is_verified=False)  # It may change meanwhile.
    authenticator.secret = begun["secret"]
    body = {"token": begun["token"], "code": authenticator.code()}
    refused = await ann.client.post(FACTOR, json=body)
    assert (refused.status_code, refused.json()["detail"]) == (403, UNCONFIRMED)


async def test_code_is_accepted_one_step_early_or_late_and_once(
    client: httpx.AsyncClient, ann: Person, authenticator: Authenticator
) -> None:
    await authenticator.set_up(ann)
    first = authenticator.code()
    challenge = await challenge_of(client, ann)
    await refuse(client, challenge, first)  # It has enabled the second factor.
    authenticator.step += 10
    await refuse(client, challenge, authenticator.code(-2))
    await refuse(client, challenge, authenticator.code(2))
    assert (await complete(client, challenge, authenticator.code(-1))).status_code == 200
    challenge = await challenge_of(client, ann)
    await refuse(client, challenge, authenticator.code(-1))
    assert (await complete(client, challenge, authenticator.code(1))).status_code == 200
    challenge = await challenge_of(client, ann)
    await refuse(client, challenge, authenticator.code())  # of a step before an accepted one


async def test_code_used_twice_at_once_works_once(
    client: httpx.AsyncClient, ann: Person, authenticator: Authenticator
) -> None:
    await authenticator.set_up(ann)
    challenges = [await challenge_of(client, ann) for _ in range(2)]
    for code in (authenticator.next_code(), authenticator.recovery_codes[0]):
        calls = [complete(client, challenge, code) for challenge in challenges]
        responses = await asyncio.gather(*calls)
        assert sorted(each.status_code for each in responses) == [200, 400]
        challenges = [await challenge_of(client, ann) for _ in range(2)]


async def test_challenge_admits_five_codes(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, authenticator: Authenticator
) -> None:
    await authenticator.set_up(ann)
    challenge = await challenge_of(client, ann)
    for _ in range(5):
        await refuse(client, challenge, authenticator.wrong_code())
    assert "Sign in again" in await refuse(client, challenge, authenticator.next_code())
    assert (await event_facts(app))[2:] == [("second_factor_check", "failure", ann.id, None)] * 5


async def test_password_without_a_code_on_a_new_device_is_told_to_the_owner(
    client: httpx.AsyncClient, outbox: Outbox, ann: Person, authenticator: Authenticator
) -> None:
    await authenticator.set_up(ann)
    challenge = await challenge_of(client, ann)
    mails = [(ann.email, "new_device"), (ann.email, "second_factor_enabled")]
    assert sorted(await outbox.to()) == mails
    assert (await complete(client, challenge, authenticator.next_code())).status_code == 200
    assert sorted(await outbox.to()) == mails


async def test_challenge_expires(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, authenticator: Authenticator
) -> None:
    await authenticator.set_up(ann)
    challenge = await challenge_of(client, ann)
    async with app.state.resources.database.transaction() as session:
        past = utc_now() - timedelta(seconds=1)
        await session.execute(update(SignInChallenge).values(expires_at=past))
    assert "expired" in await refuse(client, challenge, authenticator.next_code())
    assert await app.state.resources.accounts.auth.clean_up() == 1


async def test_challenge_is_of_one_account(
    app: FastAPI,
    client: httpx.AsyncClient,
    ann: Person,
    bob: Person,
    authenticator: Authenticator,
) -> None:
    await verify_address(app, bob)
    bobs_authenticator = Authenticator()
    await bobs_authenticator.set_up(bob)
    await authenticator.set_up(ann)
    bobs_authenticator.step = authenticator.step = authenticator.step + 1
    challenge = await challenge_of(client, ann)
    await refuse(client, challenge, bobs_authenticator.code())
    await refuse(client, challenge, bobs_authenticator.recovery_codes[0])
    assert (await complete(client, challenge, authenticator.code())).status_code == 200


async def test_new_password_ends_a_sign_in_that_waits_for_a_code(
    client: httpx.AsyncClient, ann: Person, authenticator: Authenticator
) -> None:
    await authenticator.set_up(ann)
    challenge = await challenge_of(client, ann)
    body = {"current_password": PASSWORD, "new_password": "a better horse battery"}
    assert (await ann.client.post(f"{ME}/password", json=body)).status_code == 204
    await refuse(client, challenge, authenticator.next_code())


async def test_recovery_code_works_once_and_however_it_is_written(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, authenticator: Authenticator
) -> None:
    await authenticator.set_up(ann)
    code, other = authenticator.recovery_codes[:2]
    challenge = await challenge_of(client, ann)
    assert (await complete(client, challenge, code.lower())).status_code == 200
    assert ("recovery_code_used", "success", ann.id, ann.id) in await event_facts(app)
    challenge = await challenge_of(client, ann)
    await refuse(client, challenge, code)
    assert (await complete(client, challenge, other.replace("-", " "))).status_code == 200
    assert (await ann.client.get(FACTOR)).json()["recovery_codes_left"] == 8


async def test_secret_is_encrypted_and_recovery_codes_are_hashed(
    app: FastAPI, ann: Person, authenticator: Authenticator
) -> None:
    await authenticator.set_up(ann)
    assert len(set(authenticator.recovery_codes)) == 10
    async with app.state.resources.database.reading() as session:
        factor = (await session.scalars(select(SecondFactor))).one()
        hashes = (await session.scalars(select(RecoveryCode.code_hash))).all()
    assert authenticator.secret not in factor.sealed_secret
    assert {len(each) for each in hashes} == {64}
    # A secret that is copied to another user's row is not accepted there.
    seals = Seals("second factor", SECRET_KEY)
    assert seals.unseal(ann.id, factor.sealed_secret) == authenticator.secret
    with pytest.raises(InvalidSeal):
        seals.unseal(ann.id + 1, factor.sealed_secret)


async def test_set_up_takes_the_password_and_a_code_of_the_secret(
    app: FastAPI,
    ann: Person,
    bob: Person,
    authenticator: Authenticator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = f"{FACTOR}/set-up"
    refused = await ann.client.post(url, json={"current_password": "wrong"})
    assert (refused.status_code, "secret" in refused.json()) == (403, False)
    begun = await ann.client.post(url, json={"current_password": PASSWORD})
    assert begun.headers["Cache-Control"] == "no-store"
    assert begun.json()["uri"].startswith("otpauth://totp/")
    authenticator.secret = begun.json()["secret"]
    body = {"token": begun.json()["token"], "code": authenticator.code()}
    wrong = body | {"code": authenticator.wrong_code()}
    assert (await ann.client.post(FACTOR, json=wrong)).status_code == 403
    assert (await bob.client.post(FACTOR, json=body)).status_code == 422
    stored = Seals("second factor", SECRET_KEY).seal(ann.id, authenticator.secret)
    for forged in ("x", "é", body["token"][:-4], stored):
        response = await ann.client.post(FACTOR, json=body | {"token": forged})
        assert response.status_code == 422
    with monkeypatch.context() as patch:
        patch.setattr(second_factor, "SET_UP_LIFETIME", timedelta(seconds=-1))
        assert (await ann.client.post(FACTOR, json=body)).status_code == 422
    assert (await ann.client.get(FACTOR)).json()["is_enabled"] is False
    assert (await ann.client.post(FACTOR, json=body)).status_code == 201
    assert (await ann.client.post(FACTOR, json=wrong)).status_code == 409
    assert (await ann.client.post(url, json={"current_password": PASSWORD})).status_code == 409


@pytest.mark.parametrize(
    ("method", "url"), [("DELETE", FACTOR), ("POST", f"{FACTOR}/recovery-codes")]
)
async def test_disabling_and_new_recovery_codes_take_the_password_and_a_code(
    ann: Person, authenticator: Authenticator, method: str, url: str
) -> None:
    async def call(password: str, code: str) -> httpx.Response:
        body = {"current_password": password, "code": code}
        return await ann.client.request(method, url, json=body)

    assert (await call(PASSWORD, "000000")).status_code == 409
    await authenticator.set_up(ann)
    assert (await call("wrong", authenticator.next_code())).status_code == 403
    assert (await call(PASSWORD, authenticator.wrong_code())).status_code == 403
    assert (await call(PASSWORD, authenticator.code())).is_success
    assert (await call(PASSWORD, authenticator.code())).status_code in (403, 409)


async def test_renewed_recovery_codes_replace_the_old_ones(
    app: FastAPI,
    client: httpx.AsyncClient,
    outbox: Outbox,
    ann: Person,
    authenticator: Authenticator,
) -> None:
    await authenticator.set_up(ann)
    body = {"current_password": PASSWORD, "code": authenticator.recovery_codes[0]}
    renewed = (await ann.client.post(f"{FACTOR}/recovery-codes", json=body)).json()
    mails = [template for _, template in await outbox.to()]
    assert {"recovery_code_used", "recovery_codes_renewed"} <= set(mails)
    challenge = await challenge_of(client, ann)
    await refuse(client, challenge, authenticator.recovery_codes[1])
    assert (await complete(client, challenge, renewed["recovery_codes"][0])).status_code == 200
    assert ("recovery_codes_renewed", "success", ann.id, ann.id) in await event_facts(app)


async def test_disabled_second_factor_is_not_asked_for_and_told_by_mail(
    app: FastAPI,
    client: httpx.AsyncClient,
    outbox: Outbox,
    ann: Person,
    authenticator: Authenticator,
) -> None:
    await authenticator.set_up(ann)
    challenge = await challenge_of(client, ann)
    body = {"current_password": PASSWORD, "code": authenticator.next_code()}
    assert (await ann.client.request("DELETE", FACTOR, json=body)).status_code == 204
    await refuse(client, challenge, authenticator.recovery_codes[0])
    assert (await enter_password(client, ann)).status_code == 200
    mails = [template for _, template in await outbox.to()]
    assert {"second_factor_enabled", "second_factor_disabled"} <= set(mails)
    assert ("second_factor_disabled", "success", ann.id, ann.id) in await event_facts(app)


async def test_password_reset_keeps_the_second_factor(
    client: httpx.AsyncClient, outbox: Outbox, ann: Person, authenticator: Authenticator
) -> None:
    await authenticator.set_up(ann)
    await post_to_auth(client, "password-reset", email=ann.email)
    token = await outbox.token(ann.email, "reset")
    await reset_password(client, token, PASSWORD + "!")
    challenge = await challenge_of(client, ann, password=PASSWORD + "!")
    assert (await complete(client, challenge, authenticator.next_code())).status_code == 200


async def test_guesses_of_codes_are_limited_by_account(
    app: FastAPI, ann: Person, authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "CODES_PER_HOUR", 3)
    await authenticator.set_up(ann)
    statuses = []
    for n in range(4):
        async with client_of(app, address=f"192.0.2.{n}") as client:
            challenge = await challenge_of(client, ann)
            response = await complete(client, challenge, authenticator.wrong_code())
            statuses.append(response.status_code)
    assert statuses == [400, 400, 400, 429]


async def test_guesses_of_challenges_are_limited_by_address(
    database_url: str,
) -> None:
    settings = make_settings(database_url, rate_limit_login=parse("1/minute"))
    async with running(settings) as app, client_of(app) as client:
        statuses = [(await complete(client, "x", "000000")).status_code for _ in range(11)]
    assert statuses == [400] * 10 + [429]


async def test_secret_stays_readable_when_the_key_is_replaced(
    database_url: str, password_hash: str, authenticator: Authenticator
) -> None:
    old = make_settings(database_url)
    assert old.secret_key
    async with running(old) as app:
        ann = await make_person(app, password_hash, "ann")
        await verify_address(app, ann)
        async with ann.client:
            await authenticator.set_up(ann)

    async def status(*, renew: bool = False, **keys: Any) -> int:
        settings = make_settings(database_url, secret_key="a new key of 32 bytes or more", **keys)
        async with running(settings) as app, client_of(app) as client:
            if renew:
                assert await app.state.resources.accounts.second_factors.renew_seals() == (1, 0)
            challenge = await challenge_of(client, ann)
            return (await complete(client, challenge, authenticator.next_code())).status_code

    assert await status() == 400
    assert await status(secret_key_previous=old.secret_key) == 200
    assert await status(secret_key_previous=old.secret_key, renew=True) == 200
    assert await status() == 200


async def test_superuser_without_the_required_second_factor_has_no_more_rights_than_others(
    database_url: str, password_hash: str, authenticator: Authenticator
) -> None:
    settings = make_settings(database_url, require_second_factor="superusers")
    async with running(settings) as app:
        ann = await make_person(app, password_hash, "ann")
        root = await make_person(app, password_hash, "root", is_superuser=True)
        async with ann.client, root.client:
            refused = await root.client.get("/api/v1/users")
            assert refused.status_code == 403
            assert refused.json()["type"] == "/problems/second-factor-missing"
            other = await ann.client.get("/api/v1/users")
            assert other.json()["type"] == "/problems/missing-scope"
            stolen = (await sign_in_to_api(root.client, root))["access_token"]
            await verify_address(app, root)
            await authenticator.set_up(root)
            assert (await root.client.get("/api/v1/users")).status_code == 200
            # Its session was opened by the password alone.
            assert not await is_accepted(app, stolen)


@needs("items")
async def test_key_of_a_superuser_without_the_required_second_factor_sees_own_items_only(
    database_url: str, password_hash: str
) -> None:
    async with running(make_settings(database_url)) as app:
        ann = await make_person(app, password_hash, "ann")
        root = await make_person(app, password_hash, "root", is_superuser=True)
        async with ann.client, root.client:
            lamp = {"name": "Lamp", "price": 1}
            assert (await ann.client.post("/api/v1/items", json=lamp)).status_code == 201
            key = (await make_api_key(root, scopes=["items:read", "items:all"]))["key"]
    settings = make_settings(database_url, require_second_factor="superusers")
    async with running(settings) as app, client_of(app, key) as client:
        assert (await client.get("/api/v1/items")).json()["results"] == []


@needs("items")
async def test_enabling_ends_other_sessions_and_keys_and_disabling_ends_other_sessions(
    app: FastAPI, client: httpx.AsyncClient, ann: Person, authenticator: Authenticator
) -> None:
    key = (await make_api_key(ann))["key"]
    tokens = await sign_in_to_api(client, ann)
    await authenticator.set_up(ann)
    assert not await is_accepted(app, tokens["access_token"])
    assert not await is_accepted(app, key)
    assert (await refresh(client, tokens["refresh_token"])).status_code == 400
    key = (await make_api_key(ann))["key"]
    challenge = await challenge_of(client, ann)
    response = await complete(client, challenge, authenticator.next_code())
    body = {"current_password": PASSWORD, "code": authenticator.next_code()}
    assert (await ann.client.request("DELETE", FACTOR, json=body)).status_code == 204
    assert not await is_accepted(app, response.json()["access_token"])
    assert await is_accepted(app, key)
    assert (await ann.client.get(ME)).status_code == 200
