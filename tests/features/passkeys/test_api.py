"""Passkeys in the API: made, used and removed."""

import asyncio

import httpx
from fastapi import FastAPI

from app.accounts.models import NO_PASSWORD, User
from tests.accounts.conftest import CONFIRM, FACTOR, Authenticator, Outbox, set_age
from tests.accounts.steps import event_facts
from tests.conftest import PASSWORD, Person, client_of, make_person, make_settings, running
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
from tests.features.passkeys.device import BACKED_UP, ELIGIBLE, PRESENT, VERIFIED, Device

GRANT = {"grant_type": "password", "username": "ann@example.com", "password": PASSWORD}


async def challenge_of(client: httpx.AsyncClient) -> str:
    """Enter the password, and return the challenge of the second factor."""
    asked = await client.post("/api/v1/auth/token", data=GRANT)
    assert asked.json()["error"] == "second_factor_required"
    return str(asked.json()["challenge"])


async def test_passkey_is_made_listed_renamed_and_removed(
    app: FastAPI, ann: Person, bob: Person, outbox: Outbox
) -> None:
    created = await add(ann, Device())
    (found,) = (await ann.client.get(PASSKEYS)).json()
    assert found == {name: created[name] for name in found}
    assert (found["name"], found["is_backed_up"], found["last_used_at"]) == ("Phone", False, None)
    assert (await bob.client.get(PASSKEYS)).json() == []
    path, name = f"{PASSKEYS}/{found['id']}", {"name": "Key"}
    assert (await bob.client.patch(path, json=name)).status_code == 404
    assert (await ann.client.patch(path, json=name)).json()["name"] == "Key"
    assert (await ann.client.patch(path, json={"name": ""})).status_code == 422
    wrong, right = ({"current_password": password} for password in ("wrong", PASSWORD))
    assert (await ann.client.request("DELETE", path, json=wrong)).status_code == 403
    assert (await bob.client.request("DELETE", path, json=right)).status_code == 404
    assert (await ann.client.request("DELETE", path, json=right)).status_code == 204
    assert await stored(app) == []
    kinds = [kind for kind, *_ in await event_facts(app)]
    assert kinds == ["passkey_added", "password_check", "passkey_removed"]
    mails = await outbox.to()
    assert ("ann@example.com", "passkey_added") in mails
    assert ("ann@example.com", "passkey_removed") in mails


async def test_options_require_a_discoverable_passkey_that_verifies_its_user(ann: Person) -> None:
    device = Device()
    await add(ann, device)
    options = (await begin(ann))["options"]
    assert options["rp"]["id"] == "localhost"
    assert options["attestation"] == "none"
    selection = options["authenticatorSelection"]
    assert (selection["residentKey"], selection["userVerification"]) == ("required", "required")
    (excluded,) = options["excludeCredentials"]
    assert excluded["transports"] == ["hybrid", "internal"]
    assert options["user"]["id"] == device.user_handle  # of the first passkey, and not of the user
    assert (await ann.client.post(OPTIONS, json={})).json()["options"]["allowCredentials"] == []


async def test_passkey_signs_in_without_a_password(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    device = Device(count=5)
    await add(ann, device)
    done = await client.post(VERIFY, json=await answer(client, device))
    assert done.status_code == 200
    async with client_of(app, done.json()["access_token"]) as signed_in:
        assert (await signed_in.get("/api/v1/users/me")).json()["email"] == "ann@example.com"
    (passkey,) = await stored(app)
    assert (passkey.sign_count, passkey.last_used_at is not None) == (6, True)


async def test_passkey_is_a_second_factor_after_the_password(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    device = Device()
    await add(ann, device)
    challenge = await challenge_of(client)
    begun = (await client.post(OPTIONS, json={"challenge": challenge})).json()
    (allowed,) = begun["options"]["allowCredentials"]
    assert allowed["id"] == device.answer(begun["options"])["id"]
    body = {"token": begun["token"], "credential": device.answer(begun["options"])}
    done = await client.post(VERIFY, json=body | {"challenge": challenge})
    assert done.status_code == 200
    assert done.json()["token_type"] == "bearer"
    again = (await client.post(OPTIONS, json={"challenge": challenge})).json()
    assert again["error"] == "invalid_grant"  # The sign-in is complete.


async def test_first_factor_has_recovery_codes_which_sign_in_too(
    client: httpx.AsyncClient, ann: Person
) -> None:
    first, second = await add(ann, Device()), await add(ann, Device(), "Key")
    assert len(first["recovery_codes"]) == 10
    assert second["recovery_codes"] is None
    body = {"challenge": await challenge_of(client), "code": first["recovery_codes"][0]}
    done = await client.post("/api/v1/auth/second-factor", json=body)
    assert done.status_code == 200


async def test_first_factor_ends_other_sessions_and_keys(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    other = (await client.post("/api/v1/auth/token", data=GRANT)).json()["access_token"]
    await add(ann, Device())
    async with client_of(app, other) as elsewhere:
        assert (await elsewhere.get("/api/v1/users/me")).status_code == 401
    assert (await ann.client.get("/api/v1/users/me")).status_code == 200


async def test_app_and_passkeys_are_factors_side_by_side(
    client: httpx.AsyncClient, ann: Person, authenticator: Authenticator
) -> None:
    created = await add(ann, Device())
    await authenticator.set_up(ann)
    body = {"challenge": await challenge_of(client), "code": authenticator.next_code()}
    assert (await client.post("/api/v1/auth/second-factor", json=body)).status_code == 200
    proof = {"current_password": PASSWORD, "code": authenticator.next_code()}
    assert (await ann.client.request("DELETE", FACTOR, json=proof)).status_code == 204
    assert (await ann.client.get(FACTOR)).json()["recovery_codes_left"] == 10
    await challenge_of(client)
    path, proof = f"{PASSKEYS}/{created['id']}", {"current_password": PASSWORD}
    assert (await ann.client.request("DELETE", path, json=proof)).status_code == 204
    assert (await ann.client.get(FACTOR)).json()["recovery_codes_left"] == 0
    assert (await client.post("/api/v1/auth/token", data=GRANT)).status_code == 200


async def test_adding_and_removing_beside_a_factor_take_more_than_the_password(
    app: FastAPI, ann: Person
) -> None:
    """A thief of an access token and the password would get around the factor by a new one."""
    created, proof = await add(ann, Device()), {"current_password": PASSWORD}
    begun = await begin(ann)
    device = Device()
    body = {"token": begun["token"], "credential": device.make(begun["options"]), "name": "Key"}
    await set_age(app, 16)
    assert (await ann.client.post(CONFIRM, json=proof)).status_code == 204
    for refused in (
        await ann.client.post(f"{PASSKEYS}/options", json=proof),
        await ann.client.post(PASSKEYS, json=body),
        await ann.client.request("DELETE", f"{PASSKEYS}/{created['id']}", json=proof),
        await ann.client.post(f"{FACTOR}/set-up", json=proof),
    ):
        assert (refused.status_code, refused.json()["type"]) == (403, "/problems/factor-required")
    wrong = await ann.client.post(CONFIRM, json={"code": "000000"})
    assert wrong.status_code == 403
    right = await ann.client.post(CONFIRM, json={"code": created["recovery_codes"][0]})
    assert right.status_code == 204
    await add(ann, device, "Key")
    path = f"{PASSKEYS}/{created['id']}"
    assert (await ann.client.request("DELETE", path, json=proof)).status_code == 204
    assert [passkey.name for passkey in await stored(app)] == ["Key"]


async def test_app_that_was_begun_before_the_first_passkey_takes_the_passkey(
    app: FastAPI, ann: Person, authenticator: Authenticator
) -> None:
    begun = await ann.client.post(f"{FACTOR}/set-up", json={"current_password": PASSWORD})
    authenticator.secret = begun.json()["secret"]
    await add(ann, Device())
    await set_age(app, 16)
    body = {"token": begun.json()["token"], "code": authenticator.code()}
    refused = await ann.client.post(FACTOR, json=body)
    assert refused.json()["type"] == "/problems/factor-required"


async def test_sign_in_with_a_passkey_uses_the_factor(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    device = Device()
    await add(ann, device)
    done = await client.post(VERIFY, json=await answer(client, device))
    async with client_of(app, done.json()["access_token"]) as signed_in:
        options = f"{PASSKEYS}/options"
        assert (await signed_in.post(options, json={"current_password": PASSWORD})).is_success


async def test_last_way_to_sign_in_stays(app: FastAPI, ann: Person) -> None:
    await add(ann, Device())
    (passkey,) = await stored(app)
    async with app.state.resources.database.transaction() as session:
        (await session.get_one(User, ann.id)).password_hash = NO_PASSWORD
    body = {"current_password": PASSWORD}
    refused = await ann.client.request("DELETE", f"{PASSKEYS}/{passkey.id}", json=body)
    assert "Your account has no password." in refused.json()["detail"]


async def test_account_with_an_unconfirmed_address_gets_no_passkey(bob: Person) -> None:
    body = {"current_password": PASSWORD}
    refused = await bob.client.post(f"{PASSKEYS}/options", json=body)
    assert refused.status_code == 403
    assert refused.json()["detail"] == "Confirm your email address first."


async def test_address_that_changes_meanwhile_is_checked_again(app: FastAPI, ann: Person) -> None:
    begun = await begin(ann)
    async with app.state.resources.database.transaction() as session:
        (await session.get_one(User, ann.id)).email_verified_at = None
    body = {"token": begun["token"], "credential": Device().make(begun["options"]), "name": "Phone"}
    assert (await ann.client.post(PASSKEYS, json=body)).status_code == 403


async def test_wrong_password_gets_no_options(ann: Person) -> None:
    refused = await ann.client.post(f"{PASSKEYS}/options", json={"current_password": "wrong"})
    assert refused.status_code == 403


async def test_backup_state_follows_the_device(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    device = Device()
    await add(ann, device)
    flags = PRESENT | VERIFIED | ELIGIBLE | BACKED_UP
    await client.post(VERIFY, json=await answer(client, device, flags=flags))
    (passkey,) = await stored(app)
    assert passkey.is_backed_up


async def test_device_that_does_not_count_is_accepted_again(
    client: httpx.AsyncClient, ann: Person
) -> None:
    device = Device(counts=False)
    await add(ann, device)
    for _ in range(2):
        done = await client.post(VERIFY, json=await answer(client, device))
        assert done.status_code == 200


async def test_passkeys_end_with_the_account(app: FastAPI, ann: Person) -> None:
    await add(ann, Device())
    await app.state.resources.accounts.users.delete(ann.id)
    assert await stored(app) == []


async def test_administrator_removes_passkeys_with_the_second_factor(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    await add(ann, Device())
    await app.state.resources.accounts.second_factors.remove(ann.id)
    assert await stored(app) == []
    assert (await client.post("/api/v1/auth/token", data=GRANT)).status_code == 200


async def test_two_first_passkeys_at_once_make_one(app: FastAPI, ann: Person) -> None:
    """Each has a handle of its own, and all passkeys of a user have one handle."""
    bodies = [
        {"token": begun["token"], "credential": Device().make(begun["options"]), "name": "Phone"}
        for begun in (await begin(ann), await begin(ann))
    ]
    made = await asyncio.gather(*(ann.client.post(PASSKEYS, json=body) for body in bodies))
    assert sorted(each.status_code for each in made) == [201, 409]
    assert (await add(ann, Device()))["recovery_codes"] is None
    handles = [each.user_handle for each in await stored(app)]
    assert handles == handles[:1] * 2


async def test_passkey_of_another_site_or_user_is_not_added_twice(
    app: FastAPI, ann: Person, bob: Person
) -> None:
    await verify_addresses(app)
    device = Device()
    await add(ann, device)
    begun = await begin(bob)
    body = {"token": begun["token"], "credential": device.make(begun["options"]), "name": "Phone"}
    assert (await bob.client.post(PASSKEYS, json=body)).status_code == 409
    assert [passkey.user_id for passkey in await stored(app)] == [ann.id]


async def test_passkey_satisfies_the_required_second_factor(
    database_url: str, password_hash: str
) -> None:
    settings = make_settings(database_url, require_second_factor="superusers")
    async with running(settings) as app:
        root = await make_person(app, password_hash, "root", is_superuser=True)
        await verify_addresses(app)
        async with root.client:
            assert (await root.client.get("/api/v1/users")).status_code == 403
            await add(root, Device())
            assert (await root.client.get("/api/v1/users")).status_code == 200
