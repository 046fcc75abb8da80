"""Confirmation of a session in the API. tests/accounts/test_admin_confirmation.py has the pages."""

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from app.accounts.models import AuthSession
from tests.accounts.conftest import CONFIRM, Authenticator, verify_address
from tests.accounts.steps import event_facts, make_api_key, sign_in_to_api
from tests.conftest import PASSWORD, Person, client_of
from tests.slices import needs


async def confirmed(app: FastAPI) -> list[tuple[bool, bool]]:
    """Return of each session whether it is confirmed, and whether by a factor."""
    async with app.state.resources.database.reading() as session:
        found = await session.scalars(select(AuthSession).order_by(AuthSession.created_at))
        return [
            (each.confirmed_at is not None, each.factor_confirmed_at is not None) for each in found
        ]


async def test_sign_in_of_a_client_confirms_nothing_and_the_password_does(
    app: FastAPI, client: httpx.AsyncClient, ann: Person
) -> None:
    token = (await sign_in_to_api(client, ann))["access_token"]
    assert await confirmed(app) == [(True, False), (False, False)]
    async with client_of(app, token) as signed_in:
        wrong = await signed_in.post(CONFIRM, json={"current_password": "wrong"})
        assert (wrong.status_code, wrong.json()["detail"]) == (
            403,
            "The current password is wrong.",
        )
        assert (await confirmed(app))[1] == (False, False)
        right = await signed_in.post(CONFIRM, json={"current_password": PASSWORD})
        assert right.status_code == 204
        assert (await signed_in.get("/api/v1/users/me")).status_code == 200
    assert (await confirmed(app))[1] == (True, False)
    kinds = [(kind, outcome) for kind, outcome, *_ in await event_facts(app)]
    assert kinds[-2:] == [("password_check", "failure"), ("password_check", "success")]


async def test_code_confirms_what_takes_the_second_factor_too(
    app: FastAPI, ann: Person, authenticator: Authenticator
) -> None:
    await verify_address(app, ann)
    await authenticator.set_up(ann)
    wrong = await ann.client.post(CONFIRM, json={"code": authenticator.wrong_code()})
    assert wrong.status_code == 403
    right = await ann.client.post(CONFIRM, json={"code": authenticator.next_code()})
    assert right.status_code == 204
    assert await confirmed(app) == [(True, True)]
    again = await ann.client.post(CONFIRM, json={"code": authenticator.code()})
    assert again.status_code == 403


@pytest.mark.parametrize("proof", [{}, {"current_password": PASSWORD, "code": "123456"}])
async def test_confirmation_takes_either_the_password_or_a_code(
    app: FastAPI, ann: Person, proof: dict[str, str]
) -> None:
    assert (await ann.client.post(CONFIRM, json=proof)).status_code == 422
    assert [kind for kind, *_ in await event_facts(app) if kind == "password_check"] == []


@needs("items")  # A key needs a scope, and those of accounts are not for keys.
async def test_key_confirms_nothing(app: FastAPI, ann: Person) -> None:
    key = (await make_api_key(ann))["key"]
    async with client_of(app, key) as program:
        refused = await program.post(CONFIRM, json={"current_password": PASSWORD})
    assert (refused.status_code, "API key" in refused.json()["detail"]) == (403, True)
