"""OwnedRepository, as far as the tests of items do not show it."""

from typing import ClassVar
from uuid import uuid4

import pytest
from fastapi import FastAPI

from app.core.database.filters import equals
from app.core.database.pagination import Sort
from app.core.errors import Forbidden, NotFound, Stale
from app.core.schemas import Input
from app.core.security.principal import Principal
from app.features.items.models import Item
from app.features.items.repository import ItemRepository
from tests.conftest import Person


class Offers(ItemRepository):
    """Items that can be changed only while they are on offer."""

    changeable: ClassVar = [Item.is_offer.is_(True)]


class ItemsOfUser(ItemRepository):
    """Items with a filter whose name a column that refers to a user has."""

    filters: ClassVar = {"user_id": equals(Item.owner_id)}


class UserQuery(Input):
    user_id: int


def principal_of(person: Person) -> Principal:
    return Principal(person.id, uuid4(), frozenset(), is_superuser=False)


@pytest.mark.parametrize("expected", [None, frozenset({1}), frozenset({1, 2})])
async def test_visible_row_that_may_not_be_changed_is_forbidden(
    app: FastAPI, ann: Person, expected: frozenset[int] | None
) -> None:
    principal = principal_of(ann)
    async with app.state.resources.database.transaction() as session:
        offers = Offers(session, principal)
        item = await offers.create({"name": "Lamp", "price": 1, "is_offer": False})
        with pytest.raises(Forbidden):
            await offers.update(item.id, {"name": "Desk"}, expected)
        with pytest.raises(Forbidden):
            await offers.delete(item.id, expected)
        assert await offers.get(item.id) == item


async def test_stale_version_takes_precedence_over_forbidden(app: FastAPI, ann: Person) -> None:
    principal = principal_of(ann)
    async with app.state.resources.database.transaction() as session:
        offers = Offers(session, principal)
        item = await offers.create({"name": "Lamp", "price": 1, "is_offer": False})
        with pytest.raises(Stale):
            await offers.update(item.id, {"name": "Desk"}, frozenset({7}))


async def test_row_of_another_user_is_not_found(app: FastAPI, ann: Person, bob: Person) -> None:
    anns, bobs = principal_of(ann), principal_of(bob)
    async with app.state.resources.database.transaction() as session:
        item = await Offers(session, anns).create({"name": "Lamp", "price": 1, "is_offer": True})
        with pytest.raises(NotFound):
            await Offers(session, bobs).update(item.id, {"name": "Desk"}, None)


async def test_filter_by_another_user_shows_no_row_of_that_user(
    app: FastAPI, ann: Person, bob: Person
) -> None:
    query, sort = UserQuery(user_id=bob.id), Sort("id")
    async with app.state.resources.database.transaction() as session:
        anns = ItemsOfUser(session, principal_of(ann))
        bobs = ItemsOfUser(session, principal_of(bob))
        item = await bobs.create({"name": "Lamp", "price": 1, "is_offer": True})
        assert await bobs.list(query, sort, None, 10) == [item]
        assert await anns.list(query, sort, None, 10) == []
        assert await anns.total(query) == 0
