"""Scripts and markup, written into every field, and then every page that shows them."""

import asyncio
import re
from collections import Counter
from itertools import cycle
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import LargeBinary, String, inspect

from app.accounts.repository import sign_in_models
from app.core.config import Settings
from tests.conftest import Person, browser_of, make_settings, sign_in
from tests.security.crawling import Page, crawl
from tests.security.writing import Writer

MARK = "xss7f3"
CALL = f"{MARK}()"
ROUNDS = 4
EACH = 2  # pages of each kind
SCRIPTS = [
    f"<script>{CALL}</script>",
    f'"><script>{CALL}</script>',
    f"'><script>{CALL}</script>",
    f"<img src=x onerror={CALL}>",
    f'"><img src=x onerror="{CALL}">',
    f"<svg/onload={CALL}>",
    f"<SVG ONLOAD={CALL}>",
    f'" {MARK}="1',
    f"' {MARK}='1",
    f'" onfocus={CALL} autofocus x="',
    f"' onmouseover='{CALL}",
    f"`onmouseover={CALL}",
    f"</textarea><{MARK}>",
    f"</title><{MARK}>",
    f"</style><{MARK}>",
    f"</script><{MARK}>",
    f"</option></select><{MARK}>",
    f"--><{MARK}>",
    f"]]><{MARK}>",
    f"<!--{MARK}",
    f"<{MARK}>",
    f"javascript:{CALL}",
    f" \tJaVaScRiPt:{CALL}//",
    f"data:text/html,<{MARK}>",
    f"<a href=javascript:{CALL}>x</a>",
    f"<base href=//{MARK}>",
    f"<meta http-equiv=refresh content=0;url=//{MARK}>",
    f"<form action=//{MARK}><input>",
    f"<style>@import '//{MARK}'</style>",
    f'<iframe srcdoc="<{MARK}>">',
    f"<math><mtext><{MARK}>",
    f"&lt;{MARK}&gt;",
    f"{{{{ '{MARK}'|safe }}}}",
    f"{{% raw %}}<{MARK}>",
    f"${{{CALL}}}",
    f"\\u003c{MARK}\\u003e",
    f"<\N{LINE SEPARATOR}{MARK}>",
    f"\N{FULLWIDTH LESS-THAN SIGN}{MARK}\N{FULLWIDTH GREATER-THAN SIGN}",
]
SHOWN_ATTRIBUTES = {"value", "title", "alt", "content", "placeholder", "aria-label", "datetime"}
ADDRESSES = {"href", "src", "action", "formaction", "poster", "data", "xlink:href"}


class Texts:
    """Takes turns: a field gets as many scripts as fit, and the next field goes on from there."""

    def __init__(self, attempts: Counter[str]) -> None:
        self._scripts = cycle(SCRIPTS)
        self._next = next(self._scripts)
        self._attempts = attempts

    def __call__(self, limit: int) -> str:
        text = ""
        for _ in SCRIPTS:
            if len(text) + len(self._next) + 1 > limit:
                break
            text += f" {self._next}"
            self._next = next(self._scripts)
            self._attempts["scripts written into fields"] += 1
        return text[1:]


def dangers(page: httpx.Response) -> list[str]:
    """Return what of a written text has become more than text."""
    parsed = Page(page)
    found = [text for text in parsed.code if MARK in text]
    for tag, attributes in parsed.elements:
        found += [f"<{tag} {name}>" for name in (tag, *attributes) if MARK in name]
        for name, value in attributes.items():
            is_code = name in ADDRESSES and is_script(value)
            if is_code or (MARK in value and not is_text(name, value)):
                found.append(f"<{tag} {name}={value}>")
    return found


def is_script(value: str) -> bool:
    return bool(re.match(r"(javascript|vbscript):", re.sub(r"[\s\x00-\x20]", "", value).lower()))


def is_text(name: str, value: str) -> bool:
    """Return whether a text may be in an attribute: it is shown, or part of an address here."""
    is_address = name in ADDRESSES and value.startswith(("/", "#", "?", "https:", "http:"))
    return is_address or name in SHOWN_ATTRIBUTES or name.startswith("data-")


def row_of(model: Any, user_id: int, number: int, text: Texts) -> Any:
    """Return a row of a model of a feature, with scripts for its texts."""
    values: dict[str, Any] = {"user_id": user_id}
    for column in inspect(model).columns:
        if column.default is not None or column.nullable or column.name in values:
            continue
        if isinstance(column.type, String):
            values[column.name] = f"{number} {text((column.type.length or 200) - 4)}"
        elif isinstance(column.type, LargeBinary):
            values[column.name] = b"key"
        elif not column.primary_key:
            values[column.name] = column.type.python_type(1)
    return model(**values)


@pytest.fixture
def settings(database_url: str) -> Settings:
    """Return settings by which a user may enter the password more often."""
    return make_settings(database_url, rate_limit_login="1000/minute")


@pytest.mark.slow("it opens every page")
async def test_script_in_any_field_is_text_on_every_page(
    app: FastAPI, root: Person, attempts: Counter[str]
) -> None:
    texts = Texts(attempts)
    writer = Writer(await asyncio.to_thread(app.openapi), root.client, texts)
    async with browser_of(app, **{"User-Agent": texts(255)}) as browser:
        await sign_in(browser, root)
        for number in range(ROUNDS):
            await writer.write_all()
            async with app.state.resources.database.transaction() as session:
                session.add_all(row_of(each, root.id, number, texts) for each in sign_in_models())
        pages = await crawl(browser, "/", EACH) + await crawl(browser, "/admin", EACH)
    assert sum(page.text.count(MARK) for page in pages) > ROUNDS * len(writer.written)
    found = {str(page.url): dangers(page) for page in pages}
    assert {url: each for url, each in found.items() if each} == {}
    attempts["pages that were looked at for scripts"] += len(pages)
