"""Sign-in with a provider, on the pages."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.accounts.models import NO_PASSWORD
from app.features.identities.models import LinkedIdentity
from app.features.identities.schemas import Claims
from app.features.identities.service import openid
from app.features.identities.service.identities import IdentityService
from tests.accounts.conftest import Authenticator, Outbox, set_age
from tests.accounts.steps import event_facts
from tests.conftest import PASSWORD, Person, browser_of, client_of, sign_in
from tests.features.identities.conftest import (
    ANN,
    NEW,
    PENDING,
    confirm_pending,
    destination,
    email_of,
    offer_link,
    owners,
    sign_in_with,
    visit,
)
from tests.features.identities.provider import Provider, new_key
from tests.forms import form_of

LINK = "/account/identities/link/one"


async def test_new_person_gets_a_confirmed_account_without_a_password(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider
) -> None:
    assert (
        'action="/login/with/one?next=/account"' in (await browser.get("/login?next=/account")).text
    )
    done = await sign_in_with(browser, provider, NEW)
    assert (done.status_code, done.headers["Location"]) == (303, "/")
    assert await email_of(browser) == "new@example.com"
    users = app.state.resources.accounts.users
    user = await users.get_by_email("new@example.com")
    assert (user.full_name, user.is_verified) == ("New Person", True)
    assert user.password_hash == NO_PASSWORD
    kinds = [kind for kind, *_ in await event_facts(app)]
    assert kinds == ["user_created", "identity_linked", "sign_in"]
    async with browser_of(app) as elsewhere:
        await sign_in_with(elsewhere, provider, NEW | {"email": "changed@example.com"})
        assert await email_of(elsewhere) == "new@example.com"
    assert len(await owners(app)) == 1


async def test_account_without_a_password_takes_none(
    browser: httpx.AsyncClient, provider: Provider
) -> None:
    await sign_in_with(browser, provider, NEW)
    page = await browser.get("/account")
    assert "Your account has no password" in page.text
    await browser.post("/logout")
    for password in (NO_PASSWORD, "", PASSWORD):
        form = {"email": "new@example.com", "password": password}
        assert (await browser.post("/login", data=form)).status_code == 422


async def test_password_can_be_set_by_mail(
    browser: httpx.AsyncClient, provider: Provider, outbox: Outbox
) -> None:
    await sign_in_with(browser, provider, NEW)
    await browser.post("/forgot-password", data={"email": "new@example.com"})
    token = await outbox.token("new@example.com", "reset")
    await browser.post("/reset-password", data={"token": token, "password": PASSWORD})
    form = {"email": "new@example.com", "password": PASSWORD}
    assert (await browser.post("/login", data=form)).status_code == 303


async def test_request_has_pkce_state_and_nonce_and_leads_to_the_page_that_was_asked_for(
    browser: httpx.AsyncClient, provider: Provider
) -> None:
    visited = await visit(browser, "/login/with/one?next=/account?x=1", provider, NEW)
    assert visited.sent["code_challenge_method"] == "S256"
    assert min(len(visited.sent[name]) for name in ("code_challenge", "state", "nonce")) >= 43
    assert visited.sent["scope"] == "openid email profile"
    done = await browser.get(visited.callback)
    assert done.headers["Location"] == "/account?x=1"


async def test_redirect_to_another_site_is_refused(
    browser: httpx.AsyncClient, provider: Provider
) -> None:
    for url in ("https://evil.example", "//evil.example", "/\\evil.example", "/%2fevil.example"):
        visited = await visit(browser, f"/login/with/one?next={url}", provider, NEW)
        done = await browser.get(visited.callback)
        assert done.headers["Location"] == "/"


async def test_cookie_of_the_flow_is_short_lived_and_hidden_from_scripts(
    browser: httpx.AsyncClient, provider: Provider
) -> None:
    begun = await browser.post("/login/with/one")
    cookie = begun.headers["Set-Cookie"]
    assert {"HttpOnly", "Max-Age=600", "SameSite=lax"} <= set(cookie.split("; "))
    state = httpx.URL(destination(begun)).params["state"]
    assert state not in cookie


async def test_existing_account_is_linked_after_its_password_and_a_confirmation(
    app: FastAPI,
    browser: httpx.AsyncClient,
    provider: Provider,
    confirmed_ann: Person,
    outbox: Outbox,
) -> None:
    asked = await sign_in_with(browser, provider, ANN)
    assert asked.headers["Location"] == f"/login?next={PENDING}"
    assert await email_of(browser) is None
    form = form_of(await browser.get(asked.headers["Location"]))
    form |= {"email": confirmed_ann.email, "password": PASSWORD}
    assert (await browser.post("/login", data=form)).headers["Location"] == PENDING
    assert await owners(app) == []  # The password alone does not link.
    done = await confirm_pending(browser)
    assert done.headers["Location"] == "/account/identities"
    assert await owners(app) == [("ann-there", "ann@example.com")]
    assert (await event_facts(app))[-1][:2] == ("identity_linked", "success")
    assert ("ann@example.com", "identity_linked") in await outbox.to()
    async with browser_of(app) as elsewhere:
        await sign_in_with(elsewhere, provider, ANN)
        assert await email_of(elsewhere) == "ann@example.com"


async def test_second_factor_is_asked_for_unless_the_providers_counts(
    app: FastAPI,
    browser: httpx.AsyncClient,
    provider: Provider,
    other_provider: Provider,
    confirmed_ann: Person,
    authenticator: Authenticator,
) -> None:
    for name, each in (("one", provider), ("other", other_provider)):
        async with browser_of(app) as linking:
            await sign_in(linking, confirmed_ann)
            await offer_link(linking, each, ANN, name)
            await confirm_pending(linking)
    await authenticator.set_up(confirmed_ann)
    visited = await visit(browser, "/login/with/one?next=/account", provider, ANN)
    asked = await browser.get(visited.callback)
    assert asked.headers["Location"] == "/login/code?next=/account"
    assert await email_of(browser) is None
    form = form_of(await browser.get(asked.headers["Location"]))
    done = await browser.post("/login/code", data=form | {"code": authenticator.next_code()})
    assert done.headers["Location"] == "/account"
    async with browser_of(app) as elsewhere:
        await sign_in_with(elsewhere, other_provider, ANN, "other")
        assert await email_of(elsewhere) == "ann@example.com"


async def test_link_waits_for_the_account_that_it_is_for(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider, confirmed_ann: Person, bob: Person
) -> None:
    await sign_in_with(browser, provider, ANN)
    await sign_in(browser, bob)
    assert (await browser.get(PENDING)).status_code == 403
    assert (await browser.post(PENDING)).status_code == 403
    assert await owners(app) == []


async def test_account_with_an_unconfirmed_address_is_not_linked(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider, ann: Person
) -> None:
    """Whoever signed up with the address could keep a way in after its owner takes it over."""
    await sign_in(browser, ann)
    await offer_link(browser, provider, NEW)
    refused = await confirm_pending(browser)
    assert refused.status_code == 403
    assert "Confirm your email address first." in refused.text
    assert await owners(app) == []


async def test_provider_confirms_in_place_of_the_password(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider
) -> None:
    await sign_in_with(browser, provider, NEW)
    await set_age(app, 16)
    before = browser.cookies["auth_session"]
    page = await browser.get("/confirm?next=/account/api-keys/new")
    assert 'name="current_password"' not in page.text
    assert "/confirm/with/one?next=/account/api-keys/new" in page.text
    visited = await visit(browser, "/confirm/with/one?next=/account/api-keys/new", provider, NEW)
    assert (visited.sent["prompt"], visited.sent["max_age"]) == ("login", "0")
    done = await browser.get(visited.callback)
    assert done.headers["Location"] == "/account/api-keys/new"
    assert browser.cookies["auth_session"] != before
    assert (await event_facts(app))[-1][0] == "identity_check"
    assert (await browser.get("/account/second-factor/set-up")).status_code == 200


async def test_confirmation_takes_a_recent_sign_in_of_the_same_person(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider
) -> None:
    await sign_in_with(browser, provider, NEW)
    await set_age(app, 16)
    visited = await visit(browser, "/confirm/with/one", provider, ANN)
    assert (await browser.get(visited.callback)).status_code == 403
    provider.change_claims = lambda claims: claims | {"auth_time": claims["iat"] - 3600}
    visited = await visit(browser, "/confirm/with/one", provider, NEW)
    assert (await browser.get(visited.callback)).status_code == 400
    assert (await browser.get("/account/second-factor/set-up")).status_code == 303


@pytest.mark.parametrize("age", [3600, None])
async def test_sign_in_by_an_old_session_at_the_provider_confirms_nothing(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider, age: int | None
) -> None:
    """The provider asks for nothing then, in a browser that was left open as well."""
    provider.change_claims = lambda claims: (
        claims | {"auth_time": None if age is None else claims["iat"] - age}
    )
    await sign_in_with(browser, provider, NEW)
    assert await email_of(browser) == "new@example.com"
    asked = await browser.get("/account/second-factor/set-up")
    assert (asked.status_code, asked.headers["Location"][:8]) == (303, "/confirm")
    await sign_in_with(browser, provider, NEW)  # once more does not help
    assert (await browser.get("/account/second-factor/set-up")).status_code == 303


async def test_address_is_read_from_the_user_info(
    browser: httpx.AsyncClient, provider: Provider
) -> None:
    provider.has_email_in_token = False
    await sign_in_with(browser, provider, NEW)
    assert await email_of(browser) == "new@example.com"


async def test_documents_and_keys_are_cached_and_new_keys_are_found(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        await sign_in_with(browser, provider, NEW)
    cached = ("/.well-known/openid-configuration", "/keys")
    assert [provider.requests.count(path) for path in cached] == [1, 1]
    provider.key = new_key(f"after {provider.key.kid}")
    assert (await sign_in_with(browser, provider, NEW)).status_code == 400  # asked a moment ago
    monkeypatch.setattr(openid, "KEYS_REFRESH_SECONDS", -1)
    assert (await sign_in_with(browser, provider, NEW)).status_code == 303
    assert provider.requests.count("/keys") == 2


async def test_provider_that_is_away_is_a_page_that_says_what_to_do(
    browser: httpx.AsyncClient, provider: Provider
) -> None:
    provider.status = 500
    page = await browser.post("/login/with/one")
    assert page.status_code == 503
    assert "One does not answer as it should. Try again in a minute." in page.text
    assert 'href="/login"' in page.text
    provider.status = 200
    visited = await visit(browser, "/login/with/one", provider, NEW)
    provider.status = 503
    assert (await browser.get(visited.callback)).status_code == 503


@pytest.mark.parametrize("path", ["/login/with/one", "/confirm/with/one", LINK])
async def test_other_site_cannot_begin(
    app: FastAPI, browser: httpx.AsyncClient, ann: Person, provider: Provider, path: str
) -> None:
    """By a link or a form of its own, it could sign a visitor in as somebody, or out of here."""
    await sign_in(browser, ann)
    headers = {"Sec-Fetch-Site": "cross-site"}
    for method, status in (("GET", 405), ("POST", 403)):
        response = await browser.request(method, path, headers=headers)
        assert (response.status_code, "Set-Cookie" in response.headers) == (status, False)
    assert provider.requests == []


async def test_unknown_provider_returns_404(browser: httpx.AsyncClient) -> None:
    assert (await browser.post("/login/with/nobody")).status_code == 404


async def test_two_callbacks_of_one_new_person_at_once_make_one_account(
    app: FastAPI, provider: Provider
) -> None:
    async with browser_of(app) as one, browser_of(app) as other:
        visits = [await visit(each, "/login/with/one", provider, NEW) for each in (one, other)]
        done = await asyncio.gather(one.get(visits[0].callback), other.get(visits[1].callback))
        assert [each.status_code for each in done] == [303, 303]
        assert [await email_of(each) for each in (one, other)] == ["new@example.com"] * 2
    assert len(await owners(app)) == 1


async def test_account_that_is_made_with_a_password_meanwhile_can_be_linked(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = IdentityService._create

    async def create_after_the_other(self: IdentityService, *given: Any) -> LinkedIdentity:
        account = {"email": "new@example.com", "password": PASSWORD}
        async with client_of(app) as client:
            assert (await client.post("/api/v1/users", json=account)).status_code == 201
        return await create(self, *given)

    monkeypatch.setattr(IdentityService, "_create", create_after_the_other)
    asked = await sign_in_with(browser, provider, NEW)
    assert asked.headers["Location"] == f"/login?next={PENDING}"
    assert await owners(app) == []


async def test_account_that_is_made_in_another_window_meanwhile_is_signed_in(
    app: FastAPI, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with browser_of(app) as one, browser_of(app) as other:
        visits = [await visit(each, "/login/with/one", provider, NEW) for each in (one, other)]
        find = IdentityService._find

        async def find_before_the_other(
            identities: IdentityService, claims: Claims
        ) -> LinkedIdentity | None:
            found = await find(identities, claims)
            monkeypatch.setattr(IdentityService, "_find", find)
            await other.get(visits[1].callback)
            return found

        monkeypatch.setattr(IdentityService, "_find", find_before_the_other)
        await one.get(visits[0].callback)
        assert [await email_of(each) for each in (one, other)] == ["new@example.com"] * 2
    assert len(await owners(app)) == 1
