"""Steps on the pages of accounts."""

import httpx

from tests.accounts.conftest import Authenticator

FACTOR_PAGE = "/account/second-factor"
SET_UP_PAGE = f"{FACTOR_PAGE}/set-up"


async def is_signed_in(browser: httpx.AsyncClient) -> bool:
    response = await browser.get("/account")
    assert response.status_code in (200, 303)
    return response.status_code == 200


async def read_factor_set_up(
    browser: httpx.AsyncClient, authenticator: Authenticator
) -> httpx.Response:
    """Return the page of the set-up, whose secret the app has read."""
    page = await browser.get(SET_UP_PAGE)
    authenticator.secret = page.text.split("<code>")[1].split("</code>")[0].replace(" ", "")
    return page
