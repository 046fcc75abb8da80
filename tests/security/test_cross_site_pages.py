"""Forms that pages of other sites send, to everything that changes something."""

from collections import Counter

import httpx
import pytest
from fastapi import FastAPI

from tests.conftest import Person
from tests.security.crawling import Page, crawl, path_of, unsafe_routes

EVIL = "https://evil.example"
OWN = "http://localhost"
# Headers with which browsers send a form of another site, or programs one that pretends not to be.
FORGED: list[dict[str, str]] = [
    {},
    *(
        {"Origin": origin}
        for origin in (
            *(EVIL, "null", "", "https://localhost", "http://localhost:81", "http://localhost:443"),
            *(
                "http://localhost.evil.example",
                "http://evil.example/localhost",
                "http://sub.localhost",
            ),
            *("http://localhost@evil.example", "http://evil.example#http://localhost", "file://"),
            *("http://127.0.0.1", "http://127.0.0.1:8001", "http://[::1]:8000", "http://LOCALHOST"),
            *(
                "http://localhost ,http://evil.example",
                "http://localhost/",
                "localhost",
                "//localhost",
            ),
        )
    ),
    *({"Sec-Fetch-Site": site} for site in ("cross-site", "same-site", "none", "x", "Same-Origin")),
    *({"Sec-Fetch-Site": site, "Origin": OWN} for site in ("cross-site", "same-site", "none")),
    *({"Referer": referer} for referer in (f"{OWN}/login", EVIL, f"{EVIL}/?{OWN}")),
    {"Origin": EVIL, "Referer": f"{OWN}/login"},
    {"Origin": EVIL, "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"},
    {"Origin": EVIL, "X-Requested-With": "XMLHttpRequest"},
    {"Origin": EVIL, "X-HTTP-Method-Override": "GET"},
    {"Origin": EVIL, "Content-Type": "text/plain"},
    {"Origin": EVIL, "Content-Type": "application/json"},
    {"Origin": EVIL, "Accept": "application/json"},
]


def is_refused(response: httpx.Response) -> bool:
    return response.status_code == 403 and "was sent from another site" in response.text


@pytest.mark.slow("thousands of requests")
async def test_cross_site_request_is_refused_by_every_form_and_route(
    app: FastAPI, admin: httpx.AsyncClient, root: Person, attempts: Counter[str]
) -> None:
    pages = await crawl(admin, "/") + await crawl(admin, "/admin")
    actions = {path_of(action) for page in pages for action in Page(page).actions()}
    targets = unsafe_routes(app) | {("POST", action) for action in actions} | {("POST", "/nowhere")}
    del admin.headers["Sec-Fetch-Site"]
    admin.headers["Accept"] = "application/json"  # A problem is faster than a page.
    for method, path in sorted(targets):
        for forged in FORGED:
            response = await admin.request(method, path, headers=forged)
            assert is_refused(response), (method, path, forged, response.status_code)
            assert "set-cookie" not in response.headers
            attempts["cross-site requests, to forms of pages"] += 1
