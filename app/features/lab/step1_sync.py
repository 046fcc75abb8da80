"""Step 1, the sync start: `def` endpoints and a blocking driver.

FastAPI runs a `def` endpoint in a thread. While the database works, the thread waits. Once all
threads wait (THREAD_LIMIT, 40), every other request waits too.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.orm import Session, joinedload

from app.core.errors import Invalid, NotFound
from app.features.lab.models import Item, User
from app.features.lab.schemas import ItemCreate, ItemRead, ItemUpdate, OwnerItems

DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}
PAGE = 10

router = APIRouter(prefix="/lab/step1", tags=["1: sync"])


def open_engine(url: URL, pool_size: int) -> Engine:
    # The options of the URL are for the async driver.
    url = url.set(drivername=DRIVERS[url.get_backend_name()], query={})
    return create_engine(url, pool_size=pool_size, max_overflow=0)


async def get_engine(request: Request) -> Engine:
    engine: Engine = request.app.state.engine
    return engine


# The endpoints open the sessions. A session that a dependency yields keeps its connection until the
# response is built, for which a `def` endpoint needs a thread again. With more requests than
# connections, all threads can wait for a connection, and all connections for a thread.
EngineDep = Annotated[Engine, Depends(get_engine)]


@router.post("/items", status_code=201)
def create_item(data: ItemCreate, engine: EngineDep) -> ItemRead:
    with Session(engine) as session:
        owner = session.get(User, data.owner_id)
        if owner is None:
            raise Invalid("There is no such user.", "body", "owner_id")
        item = Item(name=data.name, price=data.price, owner=owner)
        session.add(item)
        session.commit()
        return ItemRead.model_validate(item)  # reads it again: the commit expired it


@router.get("/items")
def list_items(engine: EngineDep) -> list[ItemRead]:
    with Session(engine) as session:
        items = session.query(Item).options(joinedload(Item.owner)).order_by(Item.id).limit(PAGE)
        return [ItemRead.model_validate(item) for item in items]


@router.patch("/items/{item_id}")
def update_item(item_id: int, data: ItemUpdate, engine: EngineDep) -> ItemRead:
    with Session(engine) as session:
        item = found(session.get(Item, item_id), item_id)
        for name, value in data.model_dump().items():  # without what is MISSING
            setattr(item, name, value)
        session.commit()
        return ItemRead.model_validate(item)  # loads the owner lazily


@router.delete("/items/{item_id}", status_code=204, response_class=Response)
def delete_item(item_id: int, engine: EngineDep) -> None:
    with Session(engine) as session:
        session.delete(found(session.get(Item, item_id), item_id))
        session.commit()


@router.get("/report")
def report_items(engine: EngineDep) -> list[OwnerItems]:
    with Session(engine) as session:
        return items_by_owner(session)


def items_by_owner(session: Session) -> list[OwnerItems]:
    owners = session.query(User).order_by(User.id)
    return [OwnerItems.model_validate(owner) for owner in owners]  # a query for each owner


def found(item: Item | None, item_id: int) -> Item:
    if item is None:
        raise NotFound(f"Item Not Found (id: {item_id})")
    return item
