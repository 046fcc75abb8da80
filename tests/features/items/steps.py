"""Steps that the tests of items share, also with those of other slices."""

from typing import Any

from tests.conftest import Person

ITEMS = "/api/v1/items"
LAMP = {"name": "Lamp", "description": "Brass", "price": "19.99", "is_offer": True}
SORTS = ["id", "name", "price", "created_at", "updated_at"]
# A foreign key that is checked at the commit, and a trigger that violates it for each new item.
FAILING_COMMIT = {
    "sqlite": (
        "CREATE TABLE broken (id INTEGER REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TRIGGER break AFTER INSERT ON items BEGIN INSERT INTO broken VALUES (-1); END",
    ),
    "postgresql": (
        "CREATE TABLE broken (id bigint REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED)",
        """CREATE FUNCTION break() RETURNS trigger AS
           'BEGIN INSERT INTO broken VALUES (-1); RETURN NEW; END' LANGUAGE plpgsql""",
        "CREATE TRIGGER break AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION break()",
    ),
}


async def make_item(person: Person, **values: Any) -> dict[str, Any]:
    response = await person.client.post(ITEMS, json=LAMP | values)
    assert response.status_code == 201, response.text
    item: dict[str, Any] = response.json()
    return item


async def read_pages(person: Person, **params: Any) -> list[list[dict[str, Any]]]:
    """Return all pages of the list, by following the cursors."""
    found = []
    while True:
        response = await person.client.get(ITEMS, params=params)
        assert response.status_code == 200, response.text
        page = response.json()
        found.append(page["results"])
        if page["next"] is None:
            assert "Link" not in response.headers
            return found
        link = response.headers["Link"]
        assert link.startswith(f"<{ITEMS}?")
        assert link.endswith('>; rel="next"')
        assert page == (await person.client.get(ITEMS, params=params)).json()
        params["cursor"] = page["next"]
        next_page = (await person.client.get(link[1 : link.index(">")])).json()
        assert next_page == (await person.client.get(ITEMS, params=params)).json()
