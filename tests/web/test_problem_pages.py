import httpx
import pytest

from app.core.http.problem_kinds import KINDS


async def test_list_links_to_all_kinds(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/problems")
    assert page.status_code == 200
    for kind in KINDS.values():
        assert f'<a href="{kind.type}">' in page.text
        assert (await browser.get(kind.type)).status_code == 200


async def test_page_shows_the_summary_and_the_advice(browser: httpx.AsyncClient) -> None:
    kind = KINDS["stale-version"]
    page = (await browser.get(kind.type)).text
    assert f"<h1>{kind.title}</h1>" in page
    assert kind.summary in page
    assert "send it with the new <code>ETag</code>." in page
    assert str(kind.status) in page


@pytest.mark.parametrize("path", ["/problems/nothing", "/problems/"])
async def test_unknown_kind_returns_404(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_error_page_links_to_its_problem_page(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/nowhere")
    assert page.status_code == 404
    assert '<a class="button quiet" href="/problems/not-found">' in page.text


async def test_problem_type_is_the_address_of_its_page(client: httpx.AsyncClient) -> None:
    problem = (await client.get("/nowhere")).json()
    assert problem["title"] in (await client.get(problem["type"])).text
