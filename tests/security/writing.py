"""Write texts into every field of every operation that creates something, by its description."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.conftest import PASSWORD

# A value for fields whose example is not one of this site.
VALUES: dict[str, Any] = {
    "current_password": PASSWORD,
    "password": PASSWORD,
    "url": "https://1.1.1.1/hook",
}
# They would end the session or the account of the writer, or ask for a proof.
SKIPPED = tuple(
    f"/api/v1/{path}"
    for path in ("auth/", "graphql", *(f"users/me/{each}" for each in ("pass", "second-factor")))
)
WITHOUT_NUL = r"^[^\x00]*$"  # of every text
MAX_TRIES = 4
Location = tuple[str | int, ...]


class Writer:
    """Sends bodies whose texts are those of `text`, which gets the maximum length of a field."""

    def __init__(
        self, document: Any, client: httpx.AsyncClient, text: Callable[[int], str]
    ) -> None:
        self._document = document
        self._client = client
        self._text = text
        self._ids = dict[str, Any]()
        self._refused = dict[str, set[Location]]()
        self._numbers = count()
        self.written = Counter[str]()

    async def write_all(self) -> None:
        """Create a record of each kind, and change those that can be changed."""
        for method in ("post", "put", "patch"):
            for path, operations in self._document["paths"].items():
                if method in operations and not path.startswith(SKIPPED):
                    await self._write(method, path, operations[method])

    async def _write(self, method: str, path: str, operation: dict[str, Any]) -> None:
        content = operation.get("requestBody", {}).get("content", {})
        missing = [name for name in parameters_of(path) if name not in self._ids]
        if missing or not content:
            return
        url = path.format_map(self._ids)
        if "multipart/form-data" in content:
            name = self._text(200).replace("/", "|") + ".txt"
            response = await self._client.request(method, url, files={"file": (name, b"text")})
            self._note(path, response, 1)
        elif "application/json" in content:
            await self._write_json(method, path, url, content["application/json"]["schema"])

    async def _write_json(self, method: str, path: str, url: str, schema: dict[str, Any]) -> None:
        """Send a body. A text that is refused has to be of another form: it becomes an example."""
        refused = self._refused.setdefault(f"{method} {path}", set())
        for _ in range(MAX_TRIES):
            texts = list[Location]()
            body = self._value(schema, (), refused, texts)
            response = await self._client.request(method, url, json=body)
            if response.status_code != 422:
                break
            refused |= {
                location
                for error in response.json()["errors"]
                for location in prefixes(tuple(error["loc"][1:]))
            }
        if not response.is_success:
            refused.clear()  # What it refers to may exist in the next round.
        self._note(path, response, len(texts))

    def _note(self, path: str, response: httpx.Response, texts: int) -> None:
        assert response.status_code < 500, (path, response.text)
        if not response.is_success:
            return
        self.written[path] += texts
        location = response.headers.get("Location")
        found = response.json() if response.content else None
        name = f"{path.rpartition('/')[2].rstrip('s').replace('-', '_')}_id"
        if isinstance(found, dict) and "id" in found:
            self._ids[name] = found["id"]
        elif location:
            self._ids[name] = urlsplit(location).path.rpartition("/")[2]

    def _value(
        self, schema: dict[str, Any], at: Location, refused: set[Location], texts: list[Location]
    ) -> Any:
        """Return a value of a schema, with a text wherever it allows any."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return self._value(self._document["components"]["schemas"][name], at, refused, texts)
        if alternatives := schema.get("anyOf"):
            alternative = schema | alternatives[0] | {"anyOf": None}
            return self._value(alternative, at, refused, texts)
        if at and at[-1] == "email":
            return f"user-{next(self._numbers)}@example.com"
        if at and at[-1] in VALUES:
            return VALUES[str(at[-1])]
        if at and at[-1] in self._ids:
            return self._ids[str(at[-1])]
        match schema.get("type"):
            case "object":
                return {
                    name: self._value(each, (*at, name), refused, texts)
                    for name, each in schema.get("properties", {}).items()
                    if name not in ("is_superuser", "is_active")
                }
            case "array" if at not in refused and "examples" not in schema:
                return [self._value(schema.get("items", {}), (*at, 0), refused, texts)]
            case "string" if is_text(schema) and at not in refused:
                texts.append(at)
                return self._text(schema.get("maxLength", 1000))
        return example_of(schema)


def is_text(schema: dict[str, Any]) -> bool:
    pattern = schema.get("pattern", WITHOUT_NUL)
    return pattern == WITHOUT_NUL and not schema.keys() & {"format", "enum", "const"}


def example_of(schema: dict[str, Any]) -> Any:
    if "examples" in schema:
        return schema["examples"][0]
    if "default" in schema or "const" in schema:
        return schema.get("default", schema.get("const"))
    if "enum" in schema:
        return schema["enum"][0]
    return {"integer": 1, "number": 1, "boolean": False, "string": "x"}.get(schema.get("type", ""))


def parameters_of(path: str) -> Iterator[str]:
    return (part[1:-1] for part in path.split("/") if part.startswith("{"))


def prefixes(location: Location) -> Iterator[Location]:
    return (location[:end] for end in range(1, len(location) + 1))
