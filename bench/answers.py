"""Whether a contender answers right. Nothing is measured before all of them do."""

from collections.abc import Mapping
from typing import Any

import httpx

from app.core.security.tokens import AccessTokens
from bench.contenders import Server
from bench.database import LIFETIME, SECRET_KEY, Database, Person
from bench.errors import BenchError
from bench.workloads import API, NEW_ITEM, owner_of

ITEM_ID = 7
OF_ITS_OWN = ("id", "created_at", "updated_at")  # what differs from one created item to the next
COUNT = "SELECT count(*) FROM items"


class Answers:
    """`people` own 100 items each, and `ITEM_ID` is among them; what is made here is deleted."""

    def __init__(self, server: Server, database: Database, people: list[Person]) -> None:
        self._server = server
        self._database = database
        self._owner = owner_of(people, ITEM_ID)
        self._other = owner_of(people, ITEM_ID + 1)

    def check(self) -> dict[str, Any]:
        """What every contender must answer alike; raises BenchError at the first wrong one."""
        with httpx.Client(base_url=self._server.url, timeout=10) as self._client:
            self._expect(200, "GET", "/health/live", None)
            found = {
                "one": self._expect(200, "GET", f"{API}/{ITEM_ID}", self._owner),
                "list": self._check_list(),
                "created and changed": self._check_create(),
            }
            self._check_refusals()
            self._check_that_access_ends()
        return found

    def _check_list(self) -> Any:
        page = self._expect(200, "GET", f"{API}?limit=100", self._owner)
        ids = [item["id"] for item in page["results"]]
        self._require(len(ids) == 100 and ids == sorted(set(ids)), "the list is not of 100")
        owners = {item["owner_id"] for item in page["results"]}
        self._require(owners == {self._owner.id}, "the list has another's items")
        self._require(page["next"] is None, "the last page has a next one")
        shorter = self._expect(200, "GET", f"{API}?limit=10", self._owner)
        self._require(shorter["results"] == page["results"][:10], "the first 10 are others")
        self._require(isinstance(shorter["next"], str), "the first page has no next one")
        return page

    def _check_create(self) -> Any:
        item = self._expect(201, "POST", API, self._owner, NEW_ITEM)
        (row,) = self._database.rows("SELECT * FROM items WHERE id = $1", item["id"])
        row["price"] = str(row["price"])
        expected = NEW_ITEM | {"owner_id": self._owner.id, "version": 1}
        for values in (row, item):
            self._require(expected.items() <= values.items(), f"created was {values}")
        for wrong in ({"name": ""}, {"price": "-1"}, {"price": "1.001"}, {"colour": "red"}):
            self._expect(422, "POST", API, self._owner, NEW_ITEM | wrong)
        changed = self._check_patch(item)
        self._database.execute("DELETE FROM items WHERE id = $1", item["id"])
        return [
            {name: value for name, value in each.items() if name not in OF_ITS_OWN}
            for each in (item, changed)
        ]

    def _check_patch(self, item: dict[str, Any]) -> Any:
        path = f"{API}/{item['id']}"
        changes: dict[str, Any] = {"price": "0.50", "description": None}
        after = self._expect(200, "PATCH", path, self._owner, changes)
        expected = item | changes | {"version": 2, "updated_at": after["updated_at"]}
        self._require(after == expected, f"changed was {after}")
        self._require(after["updated_at"] > item["updated_at"], "updated_at stands still")
        self._require(self._expect(200, "GET", path, self._owner) == after, "nothing was changed")
        self._require(self._expect(200, "PATCH", path, self._owner, {}) == after, "{} changes")
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

    def _check_that_access_ends(self) -> None:
        """At the next request, although the token has been seen before."""
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
        self._require(self._database.value(COUNT) == stored, "a refused request has created")

    def _expect(
        self, status: int, method: str, path: str, person: Person | None, body: object = None
    ) -> Any:
        headers = {"Authorization": f"Bearer {person.token}"} if person else {}
        response = self._client.request(method, path, headers=headers, json=body)
        what = f"{method} {path} answers {response.status_code}, not {status}: {response.text}"
        self._require(response.status_code == status, what)
        return response.json() if response.is_success else None

    def _require(self, is_so: bool, what: str) -> None:
        if not is_so:
            raise BenchError(f"{self._server.contender.title}: {what}")


def require_equal(answers: Mapping[str, Any]) -> None:
    """By contender: what each answered."""
    (first, expected), *others = answers.items()
    for name, found in others:
        for what in expected:
            if found[what] != expected[what]:
                raise BenchError(f"{first} and {name} differ in {what!r}: {found[what]}")
