"""Discover the pages, as a visitor who follows every link, and the routes."""

import re
from collections import defaultdict
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import httpx
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}
API = "/api/"
SITE = "http://localhost"


class Page(HTMLParser):
    """The elements of a page, with what is written in scripts, styles and comments."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__()
        self.elements = list[tuple[str, dict[str, str]]]()
        self.code = list[str]()
        self._base = str(response.url)
        self.feed(response.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem:
            self.code.append(data)

    def handle_comment(self, data: str) -> None:
        self.code.append(data)

    def links(self) -> Iterator[str]:
        for tag, attributes in self.elements:
            if tag == "a" and "href" in attributes:
                yield urljoin(self._base, attributes["href"])

    def actions(self) -> Iterator[str]:
        """Yield where the forms are sent to that post."""
        for tag, attributes in self.elements:
            if tag == "form" and attributes.get("method", "").lower() == "post":
                yield urljoin(self._base, attributes.get("action", ""))
            elif attributes.get("formmethod", "").lower() == "post" or "formaction" in attributes:
                yield urljoin(self._base, attributes.get("formaction", ""))


def kind_of(url: str) -> str:
    """Return the path of a URL without its ids."""
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d+", "0", path_of(url))


async def crawl(browser: httpx.AsyncClient, start: str, each: int = 1) -> list[httpx.Response]:
    """Return the pages of this site that links lead to, so many of those that differ in ids."""
    waiting, seen, pages = [f"{SITE}{start}"], set[str](), list[httpx.Response]()
    left = defaultdict[str, int](lambda: each)
    while waiting:
        url = waiting.pop(0).partition("#")[0]
        kind = kind_of(url)
        if url in seen or not left[kind] or not url.startswith(f"{SITE}/") or "/static" in url:
            continue
        seen.add(url)
        left[kind] -= 1
        response = await browser.get(url, follow_redirects=True)
        if response.headers.get("Content-Type", "").startswith("text/html"):
            pages.append(response)
            waiting += Page(response).links()
    return pages


def unsafe_routes(app: FastAPI) -> set[tuple[str, str]]:
    """Return the methods and paths, outside of the API, that change something."""
    return {
        (method, re.sub(r"{[^}]*}", "1", route.path or ""))
        for route in iter_route_contexts(app.routes)
        for method in UNSAFE & set(route.methods or ())
        if not (route.path or "").startswith(API)
    }


def path_of(url: str) -> str:
    return urlsplit(url).path
