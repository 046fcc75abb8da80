"""The identities of an account, on its pages."""

import asyncio

import httpx
from fastapi import FastAPI

from tests.accounts.conftest import Authenticator, set_age
from tests.conftest import PASSWORD, Person, browser_of, sign_in
from tests.features.identities.conftest import (
    ANN,
    NEW,
    PENDING,
    confirm_pending,
    offer_link,
    owners,
    sign_in_with,
    visit,
)
from tests.features.identities.provider import Provider

PAGE = "/account/identities"


async def link(app: FastAPI, person: Person, provider: Provider, name: str = "one") -> None:
    async with browser_of(app) as browser:
        await sign_in(browser, person)
        await offer_link(browser, provider, ANN, name)
        assert (await confirm_pending(browser)).status_code == 303


async def test_last_way_to_sign_in_stays(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider, other_provider: Provider
) -> None:
    await sign_in_with(browser, provider, NEW)
    page = await browser.get(PAGE)
    (path,) = [part.split('"')[0] for part in page.text.split('action="') if "/unlink" in part]
    refused = await browser.post(path)
    assert refused.status_code == 422
    assert "This is your only way to sign in. Set a password first." in refused.text
    await offer_link(browser, other_provider, ANN, "other")
    await confirm_pending(browser)
    assert (await browser.post(path)).status_code == 303
    assert await owners(app) == [("ann-there", "new@example.com")]


async def test_two_that_unlink_the_last_two_at_once_leave_one(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider, other_provider: Provider
) -> None:
    await sign_in_with(browser, provider, NEW)
    await offer_link(browser, other_provider, ANN, "other")
    await confirm_pending(browser)
    page = await browser.get(PAGE)
    paths = [part.split('"')[0] for part in page.text.split('action="') if "/unlink" in part]
    done = await asyncio.gather(*(browser.post(path) for path in paths))
    assert sorted(each.status_code for each in done) == [303, 422]
    assert len(await owners(app)) == 1


async def test_linking_beside_a_factor_takes_more_than_the_password(
    app: FastAPI,
    browser: httpx.AsyncClient,
    provider: Provider,
    other_provider: Provider,
    confirmed_ann: Person,
    authenticator: Authenticator,
) -> None:
    """The provider may count as both factors, and so get around that of the account."""
    await authenticator.set_up(confirmed_ann)
    await browser.post("/login", data={"email": confirmed_ann.email, "password": PASSWORD})
    await browser.post("/login/code", data={"code": authenticator.next_code()})
    path = f"{PAGE}/link/other"
    visited = await visit(browser, path, other_provider, NEW)
    await browser.get(visited.callback)
    await set_age(app, 16)
    await browser.post("/confirm", data={"current_password": PASSWORD})
    assert "factor=true" in (await browser.get(PENDING)).headers["Location"]
    assert (await browser.post(PENDING)).status_code == 403
    assert await owners(app) == []
    await browser.post("/confirm", data={"confirm_code": authenticator.next_code()})
    assert (await confirm_pending(browser)).status_code == 303
    await offer_link(browser, provider, ANN)
    assert (await confirm_pending(browser)).status_code == 303

    await set_age(app, 16)
    page = await browser.get("/confirm?next=/account&factor=true")
    assert "Confirm with Other" in page.text  # which counts as both factors
    assert "Confirm with One" not in page.text
    for name, each, user in (("one", provider, ANN), ("other", other_provider, NEW)):
        visited = await visit(browser, f"/confirm/with/{name}", each, user)
        assert (await browser.get(visited.callback)).headers["Location"] == "/"
        begun = await browser.post(path)
        assert begun.status_code == (403 if name == "one" else 200)


async def test_linking_and_unlinking_on_the_page_take_a_recent_password(
    app: FastAPI, browser: httpx.AsyncClient, provider: Provider, confirmed_ann: Person
) -> None:
    await link(app, confirmed_ann, provider)
    await sign_in(browser, confirmed_ann)
    page = await browser.get(PAGE)
    (path,) = [part.split('"')[0] for part in page.text.split('action="') if "/unlink" in part]
    assert f'href="{PAGE}"' in (await browser.get("/account")).text
    await set_age(app, 16)
    assert (await browser.post(f"{PAGE}/link/one")).status_code == 403
    assert (await browser.post(path)).status_code == 403
    assert len(await owners(app)) == 1
