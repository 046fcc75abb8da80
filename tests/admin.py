"""Helpers for the tests of the admin."""

import re
from typing import Any

import httpx

from tests.conftest import Person

LAMP = {"name": "Lamp", "price": "19.99", "description": "Brass"}


async def make_item(person: Person, **values: Any) -> Any:
    response = await person.client.post("/api/v1/items", json=LAMP | values)
    assert response.status_code == 201
    return response.json()


def alert(page: httpx.Response) -> str:
    return "".join(
        re.findall('<div class="alert alert-danger" role="alert">(.*?)</div>', page.text)
    )


def field_errors(page: httpx.Response) -> str:
    return "".join(re.findall('<div class="invalid-feedback">(.*?)</div>', page.text))
