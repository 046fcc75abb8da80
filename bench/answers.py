"""Checks that the contenders give correct responses before anything is measured."""

from collections.abc import Mapping
from typing import Any

import httpx

from app.core.security.tokens import AccessTokens
from bench.contenders import Server
from bench.database import LIFETIME, SECRET_KEY, Database, Person
from bench.errors import BenchError
from bench.workloads import API, NEW_ITEM, owner_of

ITEM_ID = 7
UNIQUE_FIELDS = ("id", "created_at", "updated_at")  # they differ between created items
COUNT = "SELECT count(*) FROM items"


class Answers:
    """Checks one contender's responses.

    Each of `people` owns 100 items, one of which is `ITEM_ID`. Items that a check creates are
    deleted.
    """

    def __init__(self, server: Server, database: Database, people: list[Person]) -> None:
        self._server = server
        self._database = database
        self._owner = owner_of(people, ITEM_ID)
        self._other = owner_of(people, ITEM_ID + 1)

    def check(self) -> dict[str, Any]:
        """Return the responses that have to be equal for all contenders. Raise BenchError."""
        with httpx.Client(base_url=self._server.url, timeout=10) as self._client:
            self._expect(200, "GET", "/health/live", None)
            found = {
                "one": self._expect(200, "GET", f"{API}/{ITEM_ID}", self._owner),
                "list": self._check_list(),
                "created and changed": self._check_create(),
            }
            self._check_refusals()
            self._check_revocation()
        return found

    def _check_list(self) -> Any:
        page = self._expect(200, "GET", f"{API}?limit=100", self._owner)
        ids = [item["id"] for item in page["results"]]
        self._require(
            len(ids) == 100 and ids == sorted(set(ids)), "the list does not have 100 items"
        )
        owners = {item["owner_id"] for item in page["results"]}
        self._require(owners == {self._owner.id}, "the list has items of another owner")
        self._require(page["next"] is None, "the last page has a cursor")
        shorter = self._expect(200, "GET", f"{API}?limit=10", self._owner)
        self._require(
            shorter["results"] == page["results"][:10], "the first 10 items are different"
        )
        self._require(isinstance(shorter["next"], str), "the first page has no cursor")
        return page

    def _check_create(self) -> Any:
        item = self._expect(201, "POST", API, self._owner, NEW_ITEM)
        (row,) = self._database.rows("SELECT * FROM items WHERE id = $1", item["id"])
        row["price"] = str(row["price"])
        expected = NEW_ITEM | {"owner_id": self._owner.id, "version": 1}
        for values in (row, item):
            self._require(expected.items() <= values.items(), f"the created item is {values}")
        for wrong in ({"name": ""}, {"price": "-1"}, {"price": "1.001"}, {"colour": "red"}):
            self._expect(422, "POST", API, self._owner, NEW_ITEM | wrong)
        changed = self._check_patch(item)
        self._database.execute("DELETE FROM items WHERE id = $1", item["id"])
        return [
            {name: value for name, value in each.items() if name not in UNIQUE_FIELDS}
            for each in (item, changed)
        ]

    def _check_patch(self, item: dict[str, Any]) -> Any:
        path = f"{API}/{item['id']}"
        changes: dict[str, Any] = {"price": "0.50", "description": None}
        after = self._expect(200, "PATCH", path, self._owner, changes)
        expected = item | changes | {"version": 2, "updated_at": after["updated_at"]}
        self._require(after == expected, f"the changed item is {after}")
        self._require(after["updated_at"] > item["updated_at"], "updated_at did not change")
        self._require(
            self._expect(200, "GET", path, self._owner) == after, "the change was not stored"
        )
        self._require(
            self._expect(200, "PATCH", path, self._owner, {}) == after, "{} changed the item"
        )
        for wrong in ({"name": None}, {"price": "-1"}, {"colour": "red"}):
            self._expect(422, "PATCH", path, self._owner, wrong)
        return after

    def _check_refusals(self) -> None:
        tokens = AccessTokens(SECRET_KEY, LIFETIME)
        expired = AccessTokens(SECRET_KEY, -LIFETIME)
        forged = AccessTokens(SECRET_KEY[::-1], LIFETIME)
        person = self._owner
        scopes = frozenset({"items:read"})
        self._expect(404, "GET", f"{API}/{ITEM_ID}", self._other)
        self._expect(404, "PATCH", f"{API}/{ITEM_ID}", self._other, {"price": "1"})
        for wrong in (expired, forged):
            token = wrong.issue(person.id, person.session_id, scopes)
            self._expect(401, "GET", f"{API}/{ITEM_ID}", Person(0, person.session_id, token))
        self._expect(401, "GET", f"{API}/{ITEM_ID}", None)
        reader = tokens.issue(person.id, person.session_id, scopes)
        self._expect(403, "POST", API, Person(0, person.session_id, reader), NEW_ITEM)

    def _check_revocation(self) -> None:
        """Check that the next request is refused, even if the token was accepted before."""
        revoked, deactivated = self._database.add_people(2)
        for person in (revoked, deactivated):
            self._expect(200, "GET", API, person)
        self._database.execute("DELETE FROM auth_sessions WHERE id = $1", revoked.session_id)
        self._database.execute("UPDATE users SET is_active = false WHERE id = $1", deactivated.id)
        stored = self._database.value(COUNT)
        for person in (revoked, deactivated):
            self._expect(401, "GET", API, person)
            self._expect(401, "GET", f"{API}/{ITEM_ID}", person)
            self._expect(401, "POST", API, person, NEW_ITEM)
            self._expect(401, "PATCH", f"{API}/{ITEM_ID}", person, {"price": "1"})
        self._require(self._database.value(COUNT) == stored, "a refused request created an item")

    def _expect(
        self, status: int, method: str, path: str, person: Person | None, body: object = None
    ) -> Any:
        headers = {"Authorization": f"Bearer {person.token}"} if person else {}
        response = self._client.request(method, path, headers=headers, json=body)
        detail = f"{method} {path} answers {response.status_code}, not {status}: {response.text}"
        self._require(response.status_code == status, detail)
        return response.json() if response.is_success else None

    def _require(self, condition: bool, detail: str) -> None:
        if not condition:
            raise BenchError(f"{self._server.contender.title}: {detail}")


def require_equal(answers: Mapping[str, Any]) -> None:
    """Raise BenchError unless all contenders gave the same responses."""
    (first, expected), *others = answers.items()
    for name, found in others:
        for check, response in expected.items():
            if found[check] != response:
                raise BenchError(f"{first} and {name} differ in {check!r}: {found[check]}")
