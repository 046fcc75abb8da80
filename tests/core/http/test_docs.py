import re
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from fastapi import FastAPI

from app.accounts.scopes import allowed_scopes
from app.core.http.docs import EXTERNAL_LOGO, add_bare_pages, add_docs
from app.main import create_app
from tests.conftest import Person, client_of, make_settings, running, sign_in
from tests.slices import needs

PATHS = ["/docs", "/redoc"]


@pytest.fixture
def bare() -> FastAPI:
    """Return an application with the docs as they are where the pages are deleted."""
    app = FastAPI(title="<b>", openapi_url=None)
    add_docs(app)
    add_bare_pages(app)
    return app


async def check_files(client: httpx.AsyncClient, path: str) -> list[str]:
    """Check that a page loads files of this server only, and return their addresses."""
    page = await client.get(path)
    assert page.status_code == 200
    assert "https://" not in page.text
    links = re.findall(r'(?:src|-url|<link[^>]* href)="([^"]+)"', page.text)
    assert len(links) >= 4
    for link in links:
        assert not link.startswith(("http", "//"))
        asset = await client.get(urljoin(path, link))
        assert asset.status_code == 200, link
        assert EXTERNAL_LOGO not in asset.content
    return links


@pytest.mark.parametrize("path", PATHS)
async def test_pages_load_files_of_this_server_only(client: httpx.AsyncClient, path: str) -> None:
    await check_files(client, path)


@pytest.mark.parametrize("path", PATHS)
async def test_bare_pages_load_files_by_relative_links(bare: FastAPI, path: str) -> None:
    async with client_of(bare) as client:
        links = await check_files(client, path)
        page = await client.get(path)
    assert not [link for link in links if link.startswith("/")]
    assert "<title>&lt;b&gt; - API" in page.text
    assert "script-src 'self';" in page.headers["Content-Security-Policy"]
    assert not re.search("<script>|<style", page.text)


@needs("pages.py")
@pytest.mark.parametrize("path", PATHS)
async def test_pages_have_the_bar_of_the_site(
    browser: httpx.AsyncClient, ann: Person, path: str
) -> None:
    guest = (await browser.get(path)).text
    assert '<a class="brand" href="/">' in guest
    assert '<a href="/docs" aria-current="page">API docs</a>' in guest
    assert 'href="/login"' in guest
    await sign_in(browser, ann)
    page = await browser.get(path)
    assert '<a href="/account">Account</a>' in page.text
    assert page.headers["Cache-Control"] == "no-store"
    korean = await browser.get(path, headers={"Accept-Language": "ko"})
    assert '<a href="/docs" aria-current="page">API 문서</a>' in korean.text


@needs("pages.py")
async def test_docs_say_which_account_they_use(browser: httpx.AsyncClient, ann: Person) -> None:
    guest = (await browser.get("/docs")).text
    assert '<a href="/login?next=/docs">sign in</a> or press' in guest
    await sign_in(browser, ann)
    assert f"Signed in as <bdi>{ann.email}</bdi>" in (await browser.get("/docs")).text


async def test_docs_are_gone_when_disabled(database_url: str) -> None:
    settings = make_settings(database_url, docs_enabled=False)
    async with running(settings) as app, client_of(app) as client:
        for path in ("/docs", "/redoc", "/openapi.json", "/static/docs/swagger-ui.css"):
            assert (await client.get(path)).status_code == 404


@needs("pages.py")
async def test_links_to_the_docs_are_gone_when_disabled(database_url: str) -> None:
    settings = make_settings(database_url, docs_enabled=False)
    async with running(settings) as app, client_of(app) as client:
        page = (await client.get("/")).text
        assert 'href="/lab"' in page or "Sign in" in page
        assert "/docs" not in page
        assert "/redoc" not in page


async def test_docs_keep_no_authorization_in_the_browser(client: httpx.AsyncClient) -> None:
    script = (await client.get("/static/docs/swagger_ui.js")).text
    assert "persistAuthorization" not in script
    assert 'localStorage.removeItem("authorized")' in script


@pytest.fixture(scope="module")
def unstarted_app() -> FastAPI:
    """Return an application that is not started, since its document needs no database."""
    return create_app(make_settings("sqlite+aiosqlite:///never-opened.db"))


@pytest.fixture(scope="module")
def document(unstarted_app: FastAPI) -> dict[str, Any]:
    return unstarted_app.openapi()


@pytest.fixture(scope="module")
def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    paths = document["paths"].values()
    return {each["operationId"]: each for path in paths for each in path.values()}


async def test_document_is_served(client: httpx.AsyncClient, document: dict[str, Any]) -> None:
    assert (await client.get("/openapi.json")).json() == document


async def test_document_includes_the_prefix_of_a_proxy(app: FastAPI) -> None:
    transport = httpx.ASGITransport(app, root_path="/behind")
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        document = (await client.get("/behind/openapi.json")).json()
    assert document["servers"] == [{"url": "/behind"}]
    (scheme,) = document["components"]["securitySchemes"].values()
    assert scheme["flows"]["password"]["tokenUrl"] == "/behind/api/v1/auth/token"


def test_operations_have_descriptions(
    document: dict[str, Any], operations: dict[str, dict[str, Any]]
) -> None:
    assert {"create_user", "read_liveness"} <= operations.keys()
    schemas = document["components"]["schemas"]
    for name, operation in operations.items():
        assert operation["summary"], name
        assert operation["description"], name
        assert operation["tags"], name
        for status, response in operation["responses"].items():
            if status >= "400":
                (media_type,) = response["content"]
                assert media_type == "application/problem+json", name
                names = response["content"][media_type]["examples"]
                assert names, name
                for each, reference in names.items():
                    assert reference == {"$ref": f"#/components/examples/{each}"}
                    assert document["components"]["examples"][each]["value"]["status"] == int(
                        status
                    )
    for name in ("UserCreate", "UserRead", "TokenRequest"):
        assert any("examples" in each for each in schemas[name]["properties"].values()), name
    assert not [name for name in schemas if "ValidationError" in name]


@needs("items")
@pytest.mark.parametrize(
    ("operation", "statuses"),
    [
        ("create_item", {"201", "400", "401", "403", "409", "413", "415", "422", "500", "503"}),
        ("read_item", {"200", "304", "401", "403", "404", "422", "500", "503"}),
        ("delete_item", {"204", "401", "403", "404", "409", "412", "422", "500", "503"}),
        ("create_token", {"200", "400", "413", "422", "429", "500", "503"}),
        ("create_user", {"201", "400", "403", "409", "413", "415", "422", "429", "500", "503"}),
        ("read_current_user", {"200", "401", "422", "500", "503"}),
        ("read_liveness", {"200", "500"}),
    ],
)
def test_operation_lists_its_statuses(
    operations: dict[str, dict[str, Any]], operation: str, statuses: set[str]
) -> None:
    assert set(operations[operation]["responses"]) == statuses


@needs("items")
@pytest.mark.parametrize(
    ("operation", "status", "fields"),
    [
        ("create_item", "201", {"ETag", "Idempotency-Replayed", "Location"}),
        ("list_items", "200", {"Link"}),
        ("list_users", "200", {"Link"}),
        ("export_items", "200", {"Content-Disposition"}),
        ("read_item", "200", {"ETag"}),
        ("read_item", "304", {"ETag"}),
        ("delete_session", "204", set()),
        ("read_item", "401", {"WWW-Authenticate"}),
        ("read_item", "503", {"Retry-After"}),
        ("create_token", "429", {"RateLimit", "RateLimit-Policy", "Retry-After"}),
    ],
)
def test_response_lists_its_header_fields(
    document: dict[str, Any],
    operations: dict[str, dict[str, Any]],
    operation: str,
    status: str,
    fields: set[str],
) -> None:
    response = operations[operation]["responses"][status]
    assert set(response["headers"]) == fields | {"X-Request-ID"}
    known = document["components"]["headers"]
    for reference in response["headers"].values():
        assert known[reference["$ref"].rpartition("/")[2]]["example"]


@needs("items")
def test_security_scheme_lists_the_scopes(
    document: dict[str, Any], operations: dict[str, dict[str, Any]]
) -> None:
    scheme = document["components"]["securitySchemes"]["OAuth2"]
    flow = scheme["flows"]["password"]
    assert flow["tokenUrl"] == "/api/v1/auth/token"
    assert set(flow["scopes"]) == allowed_scopes(True)
    assert operations["update_item"]["security"] == [{"OAuth2": ["items:write"]}]


def test_tags_are_in_alphabetical_order(document: dict[str, Any]) -> None:
    tags = [tag["name"] for tag in document["tags"]]
    assert {"auth", "health", "users"} <= {*tags}
    assert tags == sorted(tags, key=str.lower)


def test_document_is_generated_once(unstarted_app: FastAPI) -> None:
    assert unstarted_app.openapi() is unstarted_app.openapi()
