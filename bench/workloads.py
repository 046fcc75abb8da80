"""The workloads: 10,000 items of 100 users, each requested by its owner."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.database import Person

PEOPLE = 100
ITEMS = 10_000
API = "/api/v1/items"
NEW_ITEM = {
    "name": "Lamp",
    "description": "Brass, with a green shade; the switch is on the cord.",
    "price": "19.99",
    "is_offer": True,
}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    person: Person
    body: object = None

    def line(self) -> str:
        """Format the request as load.lua reads it."""
        body = "" if self.body is None else json.dumps(self.body)
        return f"{self.method}\t{self.path}\t{self.person.token}\t{body}\n"


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    requests: Callable[[Sequence[Person]], Iterator[Request]]
    written: str | None = None  # a query for a number that every request increases by one


def owner_of(people: Sequence[Person], item_id: int) -> Person:
    return people[(item_id - 1) % len(people)]


def hello(people: Sequence[Person]) -> Iterator[Request]:
    return (Request("GET", "/health/live", person) for person in people)


def one(people: Sequence[Person]) -> Iterator[Request]:
    for item_id in range(1, ITEMS + 1):
        yield Request("GET", f"{API}/{item_id}", owner_of(people, item_id))


def list_of_100(people: Sequence[Person]) -> Iterator[Request]:
    return (Request("GET", f"{API}?limit=100", person) for person in people)


def create(people: Sequence[Person]) -> Iterator[Request]:
    return (Request("POST", API, person, NEW_ITEM) for person in people)


def patch(people: Sequence[Person]) -> Iterator[Request]:
    for item_id in range(1, ITEMS + 1):
        price = {"price": f"{item_id % 100}.50"}
        yield Request("PATCH", f"{API}/{item_id}", owner_of(people, item_id), price)


WORKLOADS = (
    Workload("hello", "GET /health/live", hello),
    Workload("one", "GET /items/{id}", one),
    Workload("list", "GET /items?limit=100", list_of_100),
    Workload("create", "POST /items", create, "SELECT count(*) FROM items"),
    Workload("patch", "PATCH /items/{id}", patch, "SELECT sum(version)::bigint FROM items"),
)
