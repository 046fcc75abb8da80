"""Email addresses: every spelling of one address is the same account."""

import httpx
import pytest
from fastapi import FastAPI

from app.accounts.models import email_key
from tests.accounts.conftest import Outbox
from tests.conftest import PASSWORD
from tests.slices import needs

SPELLINGS = [
    ("ann@müller.example.com", "ann@xn--mller-kva.example.com"),
    ("ann@xn--mller-kva.example.com", "ann@MÜLLER.example.com"),
    ("ann@example.com ", "ann@example.com "),
    ("Ann Example <ann@example.com>", "Ann Example <ann@example.com>"),
    ("ann@example.com", "\t<ANN@EXAMPLE.COM>"),
]


@pytest.mark.parametrize(("given", "typed"), SPELLINGS)
async def test_sign_in_with_another_spelling_of_the_address_succeeds(
    client: httpx.AsyncClient, given: str, typed: str
) -> None:
    account = {"email": given, "password": PASSWORD}
    assert (await client.post("/api/v1/users", json=account)).status_code == 201
    form = {"grant_type": "password", "username": typed, "password": PASSWORD}
    assert (await client.post("/api/v1/auth/token", data=form)).status_code == 200


@needs("pages.py")
@pytest.mark.parametrize(("given", "typed"), SPELLINGS)
async def test_form_takes_another_spelling_of_the_address(
    client: httpx.AsyncClient, browser: httpx.AsyncClient, given: str, typed: str
) -> None:
    await client.post("/api/v1/users", json={"email": given, "password": PASSWORD})
    signed_in = await browser.post("/login", data={"email": typed, "password": PASSWORD})
    assert signed_in.status_code == 303


@pytest.mark.parametrize(("given", "typed"), SPELLINGS)
async def test_command_line_finds_an_account_by_another_spelling(
    app: FastAPI, client: httpx.AsyncClient, given: str, typed: str
) -> None:
    user = (await client.post("/api/v1/users", json={"email": given, "password": PASSWORD})).json()
    assert (await app.state.resources.accounts.users.get_by_email(typed)).id == user["id"]


@pytest.mark.parametrize(("given", "typed"), SPELLINGS)
async def test_password_reset_finds_an_account_by_another_spelling(
    client: httpx.AsyncClient, outbox: Outbox, given: str, typed: str
) -> None:
    user = (await client.post("/api/v1/users", json={"email": given, "password": PASSWORD})).json()
    assert (
        await client.post("/api/v1/auth/password-reset", json={"email": typed})
    ).status_code == 202
    assert (user["email"], "reset") in await outbox.to()


@pytest.mark.parametrize("text", ["", "ann", "@", "ann@", "\x00", "x" * 320, "<ann@example.com"])
def test_key_of_no_address_is_the_folded_text(text: str) -> None:
    assert email_key(text.upper()) == text


def test_key_of_a_key_is_itself() -> None:
    for given, _ in SPELLINGS:
        assert email_key(email_key(given)) == email_key(given)
