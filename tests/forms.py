"""Read and fill in the forms of pages, as a browser would send them."""

import json
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

import httpx


class FormParser(HTMLParser):
    """Collects the values of the controls of each form that posts."""

    def __init__(self) -> None:
        super().__init__()
        self.forms = list[dict[str, str]]()
        self._is_open = False
        self._select = self._textarea = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name, value = given.get("name", ""), given.get("value", "")
        if tag == "form":
            self._is_open = given.get("method", "").lower() == "post"
            if self._is_open:
                self.forms.append({})
        elif not self._is_open:
            return
        elif tag == "input" and name:
            if given.get("type") != "checkbox" or "checked" in given:
                self.forms[-1][name] = value
        elif tag == "select":
            self._select = name
        elif tag == "option" and ("selected" in given or self._select not in self.forms[-1]):
            self.forms[-1][self._select] = value
        elif tag == "textarea":
            self._textarea = name
            self.forms[-1][name] = ""

    def handle_data(self, data: str) -> None:
        if self._textarea:
            self.forms[-1][self._textarea] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._is_open = False
        elif tag == "textarea":
            # Browsers drop a line break at the start.
            text = self.forms[-1][self._textarea].replace("\r\n", "\n")
            self.forms[-1][self._textarea] = text.removeprefix("\n")
            self._textarea = ""


def form_of(page: httpx.Response) -> dict[str, str]:
    """Return the values of the last form of a page that posts."""
    parser = FormParser()
    parser.feed(page.text)
    return parser.forms[-1]


def as_form(values: Mapping[str, Any]) -> dict[str, str]:
    """Return values of JSON as a form sends them. A list is rows of fields."""
    form = dict[str, str]()
    for name, value in values.items():
        if isinstance(value, list):
            for number, row in enumerate(value):
                form |= as_form({f"{name}-{number}-{field}": each for field, each in row.items()})
        else:
            form[name] = json.dumps(value) if isinstance(value, bool | dict) else str(value)
    return form
