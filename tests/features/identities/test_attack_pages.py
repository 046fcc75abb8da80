"""What an attacker, or a provider that is not honest, sends in place of the right answer."""

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from joserfc import jwt
from sqlalchemy import update

from app.core.database.models import utc_now
from app.core.errors import Unauthenticated
from app.features.identities import schemas
from app.features.identities.dependencies import get_identity_service
from app.features.identities.models import LinkedIdentity
from app.features.identities.service import identities, openid
from tests.accounts.conftest import Outbox
from tests.accounts.steps import event_facts
from tests.conftest import PASSWORD, Person, browser_of, sign_in
from tests.features.identities.conftest import (
    ANN,
    NEW,
    PENDING,
    confirm_pending,
    email_of,
    offer_link,
    owners,
    sign_in_with,
    visit,
)
from tests.features.identities.provider import CLIENT_ID, Claims, Provider, new_key

PAST, FUTURE = 1_000_000_000, 4_000_000_000
NOT_VALID = "The answer of One is not valid, or was used before. Start again."
EXPIRED = "This sign-in has expired, was used before, or was begun in another window. Start again."


async def refuses(browser: httpx.AsyncClient, callback: str, text: str = NOT_VALID) -> None:
    """Check that an answer signs nobody in, and that the page says what to do."""
    page = await browser.get(callback)
    assert page.status_code == 400
    assert text in page.text
    assert 'href="/login"' in page.text
    assert await email_of(browser) is None


def compact(header: Claims, claims: Claims, sign: Callable[[bytes], bytes]) -> str:
    """Return a token, made by hand: libraries refuse to make those of an attacker."""
    content = b".".join(urlsafe_b64encode(json.dumps(each).encode()) for each in (header, claims))
    content = content.replace(b"=", b"")
    return b".".join([content, urlsafe_b64encode(sign(content)).rstrip(b"=")]).decode()


def unsigned(provider: Provider) -> Callable[[Claims], str]:
    header = {"alg": "none", "kid": provider.key.kid}
    return lambda claims: compact(header, claims, lambda content: b"")


def with_public_key(provider: Provider) -> Callable[[Claims], str]:
    """Return a signature by HS256, whose secret is the provider's public key."""
    header = {"alg": "HS256", "kid": provider.key.kid}
    key = provider.key.as_pem(private=False)
    return lambda claims: compact(header, claims, lambda text: hmac.digest(key, text, "sha256"))


def with_another_algorithm(provider: Provider) -> Callable[[Claims], str]:
    header = {"alg": "ES256", "kid": provider.key.kid}
    return lambda claims: compact(header, claims, lambda content: bytes(64))


def with_another_key(provider: Provider) -> Callable[[Claims], str]:
    key = new_key(str(provider.key.kid))
    return lambda claims: jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key)


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "another client"},
        {"aud": [CLIENT_ID, "another client"], "azp": "another client"},
        {"aud": [CLIENT_ID, "another client"]},
        {"aud": ["another client"], "azp": CLIENT_ID},
        {"aud": None},
        {"exp": PAST},
        {"exp": None},
        {"iat": FUTURE},
        {"nbf": FUTURE},
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 256},
        {"sub": "a\x00b"},
        {"sub": 7},
        {"at_hash": "of another token"},
    ],
    ids=str,
)
async def test_wrong_claim_is_refused(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider, changes: dict[str, Any]
) -> None:
    def change(claims: Claims) -> Claims:
        return {name: value for name, value in (claims | changes).items() if value is not None}

    provider.change_claims = change
    visited = await visit(browser, "/login/with/one", provider, NEW)
    await refuses(browser, visited.callback)
    assert await owners(app) == []


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(unsigned, id="alg none"),
        pytest.param(with_public_key, id="HS256 with the public key"),
        pytest.param(with_another_algorithm, id="an algorithm of other keys"),
        pytest.param(with_another_key, id="another key of the same id"),
        pytest.param(lambda provider: lambda claims: "no token", id="no token"),
        pytest.param(lambda provider: lambda claims: "a.b.c", id="no JSON"),
        pytest.param(lambda provider: lambda claims: "", id="empty"),
    ],
)
async def test_forged_signature_is_refused(
    browser: httpx.AsyncClient, provider: Provider, make: Callable[..., Any]
) -> None:
    provider.sign = make(provider)
    visited = await visit(browser, "/login/with/one", provider, NEW)
    await refuses(browser, visited.callback)


async def test_wrong_state_is_refused_before_the_code_is_sent(
    browser: httpx.AsyncClient, provider: Provider
) -> None:
    for state in ("another", "", "\ud800"):
        visited = await visit(browser, "/login/with/one", provider, NEW)
        await refuses(
            browser, visited.changed(state=state.encode(errors="ignore").decode()), EXPIRED
        )
    assert "/token" not in provider.requests


async def test_answer_in_another_browser_is_refused(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider
) -> None:
    """Otherwise an attacker could sign a victim in to the attacker's account."""
    visited = await visit(browser, "/login/with/one", provider, NEW)
    async with browser_of(app) as victim:
        await refuses(victim, visited.callback, EXPIRED)


async def test_answer_works_once(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider
) -> None:
    visited = await visit(browser, "/login/with/one", provider, NEW)
    cookie = browser.cookies["provider_sign_in"]
    assert (await browser.get(visited.callback)).status_code == 303
    assert "provider_sign_in" not in browser.cookies
    async with browser_of(app) as thief:
        await refuses(thief, visited.callback, EXPIRED)
        thief.cookies["provider_sign_in"] = cookie
        await refuses(thief, visited.callback)  # The provider takes the code once.


async def test_code_of_another_sign_in_is_refused(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider
) -> None:
    """PKCE: a code is of use only where its sign-in has begun."""
    stolen = await visit(browser, "/login/with/one", provider, NEW)
    async with browser_of(app) as thief:
        own = await visit(thief, "/login/with/one", provider, ANN)
        code = httpx.URL(stolen.callback).params["code"]
        await refuses(thief, own.changed(code=code))


async def test_old_answer_is_refused(
    browser: httpx.AsyncClient, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    visited = await visit(browser, "/login/with/one", provider, NEW)
    monkeypatch.setattr(identities, "FLOW_LIFETIME", -schemas.FLOW_LIFETIME)
    await refuses(browser, visited.callback, EXPIRED)


async def test_tampered_cookie_is_refused(browser: httpx.AsyncClient, provider: Provider) -> None:
    visited = await visit(browser, "/login/with/one", provider, NEW)
    cookie = browser.cookies["provider_sign_in"]
    browser.cookies.clear()
    browser.cookies["provider_sign_in"] = f"{cookie[:-4]}xx=="
    await refuses(browser, visited.callback, EXPIRED)


async def test_answer_of_one_provider_is_not_taken_for_that_of_another(
    browser: httpx.AsyncClient, provider: Provider, other_provider: Provider
) -> None:
    visited = await visit(browser, "/login/with/one", provider, NEW)
    await refuses(browser, visited.callback.replace("/one/", "/other/"), EXPIRED)
    assert other_provider.requests.count("/token") == 0


async def test_issuer_in_the_answer_is_checked(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider, other_provider: Provider
) -> None:
    visited = await visit(browser, "/login/with/one", provider, NEW)
    await refuses(browser, visited.changed(iss=other_provider.url))
    assert "/token" not in provider.requests
    visited = await visit(browser, "/login/with/one", provider, NEW)
    done = await browser.get(visited.changed(iss=provider.url))
    assert done.status_code == 303


async def test_issuer_in_the_answer_is_required_of_a_provider_that_announces_it(
    browser: httpx.AsyncClient, provider: Provider
) -> None:
    provider.metadata = {"authorization_response_iss_parameter_supported": True}
    visited = await visit(browser, "/login/with/one", provider, NEW)
    await refuses(browser, visited.callback)


async def test_same_subject_at_another_provider_is_another_person(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider, other_provider: Provider
) -> None:
    await sign_in_with(browser, provider, NEW)
    async with browser_of(app) as elsewhere:
        await sign_in_with(elsewhere, other_provider, NEW | {"email": "else@example.com"}, "other")
        assert await email_of(elsewhere) == "else@example.com"
    assert len(await owners(app)) == 2


@pytest.mark.parametrize("verified", [False, None, "false", "maybe", 0])
async def test_address_that_the_provider_has_not_confirmed_opens_no_account(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider, ann: Person, verified: Any
) -> None:
    for claims in (ANN, NEW):  # An account of the address makes no difference.
        visited = await visit(
            browser, "/login/with/one", provider, claims | {"email_verified": verified}
        )
        page = await browser.get(visited.callback)
        assert page.status_code == 403
        assert "One has not confirmed your email address." in page.text
        assert "provider_link" not in browser.cookies
    assert await email_of(browser) is None
    assert await owners(app) == []


@pytest.mark.parametrize("email", [None, "", "no address", "a\x00b@example.com", 7])
async def test_address_that_is_none_opens_no_account(
    browser: httpx.AsyncClient, provider: Provider, email: Any
) -> None:
    visited = await visit(browser, "/login/with/one", provider, NEW | {"email": email})
    assert (await browser.get(visited.callback)).status_code == 403
    assert await email_of(browser) is None


async def test_confirmed_address_alone_neither_signs_in_nor_links(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider, confirmed_ann: Person
) -> None:
    await sign_in_with(browser, provider, ANN)
    assert await email_of(browser) is None
    assert (await browser.get(PENDING)).headers["Location"].startswith("/login")
    assert (await browser.post(PENDING)).headers["Location"].startswith("/login")
    assert await owners(app) == []


async def test_link_takes_a_form_of_this_site(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider, confirmed_ann: Person
) -> None:
    """Otherwise a page elsewhere could link the attacker's identity to the victim's account."""
    await sign_in(browser, confirmed_ann)
    await offer_link(browser, provider, NEW)
    assert await owners(app) == []
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert (await browser.post(PENDING, headers=headers)).status_code == 403
    assert await owners(app) == []


async def test_identity_of_another_account_is_not_linked(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider, confirmed_ann: Person
) -> None:
    async with browser_of(app) as elsewhere:
        await sign_in_with(elsewhere, provider, NEW)
    await sign_in(browser, confirmed_ann)
    page = await offer_link(browser, provider, NEW)
    assert page.status_code == 409
    assert await owners(app) == [("new-there", "new@example.com")]


async def test_link_that_is_confirmed_twice_is_made_once(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider, confirmed_ann: Person
) -> None:
    """A browser sends the form again if the first response was lost."""
    await sign_in(browser, confirmed_ann)
    await offer_link(browser, provider, ANN)
    cookie = browser.cookies["provider_link"]
    assert (await confirm_pending(browser)).status_code == 303
    browser.cookies["provider_link"] = cookie
    assert (await confirm_pending(browser)).status_code == 303
    assert len(await owners(app)) == 1
    kinds = [kind for kind, *_ in await event_facts(app)]
    assert kinds.count("identity_linked") == 1


async def test_link_is_not_made_by_a_request_that_outlives_its_session(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider, confirmed_ann: Person
) -> None:
    """The owner may have reset the password while the request of a thief was under way."""
    await sign_in(browser, confirmed_ann)
    await offer_link(browser, provider, ANN)
    resources = app.state.resources
    principal = await resources.accounts.browsers.authenticate(browser.cookies["auth_session"])
    await resources.accounts.auth.end_sessions([principal.session_id])
    service = await get_identity_service(resources)
    with pytest.raises(Unauthenticated):
        await service.link(principal, browser.cookies["provider_link"])
    assert await owners(app) == []


async def test_identity_is_not_unlinked_by_a_request_that_outlives_its_session(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider, confirmed_ann: Person
) -> None:
    await sign_in(browser, confirmed_ann)
    await offer_link(browser, provider, ANN)
    await confirm_pending(browser)
    resources = app.state.resources
    principal = await resources.accounts.browsers.authenticate(browser.cookies["auth_session"])
    service = await get_identity_service(resources)
    (identity,) = await service.list(principal)
    await resources.accounts.auth.end_sessions([principal.session_id])
    with pytest.raises(Unauthenticated):
        await service.unlink(principal, identity.id)
    assert len(await owners(app)) == 1


async def test_deactivated_user_does_not_sign_in(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider, root: Person
) -> None:
    await sign_in_with(browser, provider, NEW)
    user = await app.state.resources.accounts.users.get_by_email("new@example.com")
    await root.client.patch(f"/api/v1/users/{user.id}", json={"is_active": False})
    page = await sign_in_with(browser, provider, NEW)
    assert page.status_code == 400
    assert await email_of(browser) is None


async def test_denied_and_repeated_parameters_are_pages(
    browser: httpx.AsyncClient, provider: Provider
) -> None:
    visited = await visit(browser, "/login/with/one", provider, NEW)
    denied = f"/login/with/one/callback?error=access_denied&state={visited.sent['state']}"
    await refuses(browser, denied, "One did not sign you in. Start again, or sign in another way.")
    visited = await visit(browser, "/login/with/one", provider, NEW)
    await refuses(browser, f"{visited.callback}&code=other", EXPIRED)


async def test_endless_and_odd_documents_are_refused(
    browser: httpx.AsyncClient, provider: Provider
) -> None:
    for metadata in (
        {"x": "y" * openid.MAX_RESPONSE_BYTES},
        {"issuer": "http://evil.example"},
        {"token_endpoint": "file:///etc/passwd"},
        {"jwks_uri": 7},
    ):
        provider.metadata = metadata
        assert (await browser.post("/login/with/one")).status_code == 503


async def test_undone_change_of_the_address_discards_identities_of_the_last_days(
    app: FastAPI,
    browser: httpx.AsyncClient,
    provider: Provider,
    other_provider: Provider,
    confirmed_ann: Person,
    outbox: Outbox,
) -> None:
    """A thief may have linked one before the owner gets the account back."""
    await sign_in(browser, confirmed_ann)
    for name, each, user in (("other", other_provider, ANN), ("one", provider, NEW)):
        async with app.state.resources.database.transaction() as session:
            before = utc_now() - timedelta(days=4)
            await session.execute(update(LinkedIdentity).values(created_at=before))
        await offer_link(browser, each, user, name)
        await confirm_pending(browser)
    change = {"email": "thief@example.com", "current_password": PASSWORD}
    await browser.post("/account/email", data=change)
    token = await outbox.token("thief@example.com", "verify")
    await browser.post("/verify-email", data={"token": token, "current_password": PASSWORD})
    undo = await outbox.token("ann@example.com", "undo")
    await browser.post("/undo-email", data={"token": undo})
    assert await owners(app) == [("ann-there", "ann@example.com")]
