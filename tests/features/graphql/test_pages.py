"""The page on which to try GraphQL."""

import httpx
import pytest

from app.core.security.policy_headers import content_security_policy
from app.features.graphql.pages import EXAMPLES
from tests.conftest import Person, browser_of, make_settings, running
from tests.features.graphql.steps import run


async def test_page_is_served_under_the_policy_of_all_pages(browser: httpx.AsyncClient) -> None:
    response = await browser.get("/graphql")
    assert response.status_code == 200
    assert response.headers["Content-Security-Policy"] == content_security_policy()
    assert 'data-endpoint="/api/v1/graphql"' in response.text
    home = await browser.get("/")
    assert 'href="/graphql"' in home.text


async def test_page_is_missing_where_the_setting_is_off(database_url: str) -> None:
    settings = make_settings(database_url, graphiql_enabled=False)
    async with running(settings) as app, browser_of(app) as browser:
        assert (await browser.get("/graphql")).status_code == 404
        assert 'href="/graphql"' not in (await browser.get("/")).text


@pytest.mark.parametrize("query", EXAMPLES.values())
async def test_examples_run(ann: Person, query: str) -> None:
    assert await run(ann, query)
