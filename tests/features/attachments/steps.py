"""Steps that the tests of attachments share."""

from io import BytesIO
from typing import Any

import httpx
from fastapi import FastAPI
from PIL import Image

from app.resources import Resources
from tests.conftest import Person

TEXT = b"Brass, with a green shade.\n"


def png(width: int = 640, height: int = 320) -> bytes:
    file = BytesIO()
    Image.new("RGB", (width, height), "teal").save(file, "PNG")
    return file.getvalue()


def path_of(item: dict[str, Any], attachment: dict[str, Any] | None = None) -> str:
    path = f"/api/v1/items/{item['id']}/attachments"
    return f"{path}/{attachment['id']}" if attachment else path


async def upload(
    person: Person, item: dict[str, Any], name: str = "lamp.txt", content: bytes = TEXT
) -> httpx.Response:
    return await person.client.post(path_of(item), files={"file": (name, content)})


async def attach(
    person: Person, item: dict[str, Any], name: str = "lamp.txt", content: bytes = TEXT
) -> Any:
    response = await upload(person, item, name, content)
    assert response.status_code == 201, response.text
    return response.json()


def resources_of(app: FastAPI) -> Resources:
    resources: Resources = app.state.resources
    return resources


async def stored_keys(app: FastAPI) -> set[str]:
    pages = resources_of(app).storage.list("attachments")
    return {each.key async for page in pages for each in page}
