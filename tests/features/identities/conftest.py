import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select, update

from app.accounts.models import User
from app.core.config import Settings
from app.core.database.models import utc_now
from app.core.provider_settings import OidcProvider
from app.features.identities.models import LinkedIdentity
from tests.accounts.conftest import authenticator, outbox
from tests.conftest import Person, make_settings
from tests.features.identities.provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    Claims,
    Provider,
    serving_provider,
)
from tests.forms import form_of
from tests.isolation import DEADLINE_SECONDS

__all__ = ["authenticator", "outbox"]

PUBLIC_URL = "http://127.0.0.1:8000"
ANN: Claims = {"sub": "ann-there", "email": "ann@example.com", "email_verified": True}
NEW: Claims = {
    "sub": "new-there",
    "email": "new@example.com",
    "email_verified": True,
    "name": "New Person",
}
PENDING = "/account/identities/pending"


@pytest.fixture(scope="session")
def _providers() -> Iterator[tuple[Provider, Provider]]:
    with serving_provider() as one, serving_provider() as other:
        yield one, other


@pytest.fixture
def provider(_providers: tuple[Provider, Provider]) -> Provider:
    """Yield the provider `one`."""
    _providers[0].reset()
    return _providers[0]


@pytest.fixture
def other_provider(_providers: tuple[Provider, Provider]) -> Provider:
    """Yield the provider `other`, which counts as both factors."""
    _providers[1].reset()
    return _providers[1]


@pytest.fixture
def settings(database_url: str, provider: Provider, other_provider: Provider) -> Settings:
    providers = []
    for name, each in (("one", provider), ("other", other_provider)):
        each.redirect_uri = f"{PUBLIC_URL}/login/with/{name}/callback"
        secrets = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
        providers.append(
            OidcProvider.model_validate(
                {"name": name, "issuer": each.url, "second_factor": name == "other", **secrets}
            )
        )
    return make_settings(database_url, oidc_providers=providers)


@dataclass
class Visit:
    """A visit of a provider: the parameters that it got, and where it leads back to."""

    sent: dict[str, str]
    callback: str

    def changed(self, **changes: str) -> str:
        """Return the address that it leads back to, with other parameters."""
        return str(httpx.URL(self.callback).copy_merge_params(changes))


async def visit(browser: httpx.AsyncClient, path: str, provider: Provider, user: Claims) -> Visit:
    """Begin at a page, and let a user be signed in at the provider."""
    begun = await browser.post(path)
    url = destination(begun)
    assert url.startswith(f"{provider.url}/authorize?")
    provider.user = user
    async with httpx.AsyncClient(verify=False, timeout=DEADLINE_SECONDS) as there:
        answer = await there.get(url)
    assert answer.status_code == 302, answer.text
    back = urlsplit(answer.headers["Location"])
    sent = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    return Visit(sent, f"{back.path}?{back.query}")


def destination(begun: httpx.Response) -> str:
    """Return where a page leads the browser to, by itself and by a link."""
    assert begun.status_code == 200, begun.text
    (by_itself,) = re.findall('<meta http-equiv="refresh" content="0; url=([^"]*)">', begun.text)
    assert f'href="{by_itself}"' in begun.text
    return unescape(by_itself)


async def sign_in_with(
    browser: httpx.AsyncClient, provider: Provider, user: Claims, name: str = "one"
) -> httpx.Response:
    visited = await visit(browser, f"/login/with/{name}", provider, user)
    return await browser.get(visited.callback)


async def offer_link(
    browser: httpx.AsyncClient, provider: Provider, user: Claims, name: str = "one"
) -> httpx.Response:
    """Sign in at the provider to link it, and return the response that leads to the question."""
    visited = await visit(browser, f"/account/identities/link/{name}", provider, user)
    return await browser.get(visited.callback)


async def confirm_pending(browser: httpx.AsyncClient) -> httpx.Response:
    page = await browser.get(PENDING)
    assert page.status_code == 200
    return await browser.post(PENDING, data=form_of(page))


async def email_of(browser: httpx.AsyncClient) -> str | None:
    """Return the address of the user who is signed in."""
    page = await browser.get("/account")
    if page.status_code != 200:
        return None
    return page.text.split('<p class="breaks"><bdi>')[1].split("</bdi>")[0]


async def owners(app: FastAPI) -> list[tuple[str, str]]:
    """Return the subject of each identity with the address of its user."""
    async with app.state.resources.database.reading() as session:
        rows = await session.execute(
            select(LinkedIdentity.subject, User.email)
            .join(User, LinkedIdentity.user_id == User.id)
            .order_by(LinkedIdentity.created_at)
        )
        return [(subject, email) for subject, email in rows]


async def verify(app: FastAPI, *people: Person) -> None:
    """Let people have confirmed their addresses."""
    async with app.state.resources.database.transaction() as session:
        ids = [person.id for person in people]
        statement = update(User).where(User.id.in_(ids)).values(email_verified_at=utc_now())
        await session.execute(statement)


@pytest.fixture
async def confirmed_ann(app: FastAPI, ann: Person) -> Person:
    await verify(app, ann)
    return ann
