"""Step 2, the trap: `async def` around the same blocking calls.

It looks like progress, and every test passes. But an `async def` endpoint runs on the event loop,
and while the database works, the loop is blocked. One slow query stops every request.
"""

from fastapi import APIRouter, Response
from sqlalchemy.orm import Session, joinedload

from app.core.errors import Invalid
from app.features.lab.models import Item, User
from app.features.lab.schemas import ItemCreate, ItemRead, ItemUpdate, OwnerItems
from app.features.lab.step1_sync import PAGE, EngineDep, found, items_by_owner

router = APIRouter(prefix="/lab/step2", tags=["2: trap"])


@router.post("/items", status_code=201)
async def create_item(data: ItemCreate, engine: EngineDep) -> ItemRead:  # changed
    with Session(engine) as session:
        owner = session.get(User, data.owner_id)
        if owner is None:
            raise Invalid("There is no such user.", "body", "owner_id")
        item = Item(name=data.name, price=data.price, owner=owner)
        session.add(item)
        session.commit()
        return ItemRead.model_validate(item)


@router.get("/items")
async def list_items(engine: EngineDep) -> list[ItemRead]:  # changed
    with Session(engine) as session:
        items = session.query(Item).options(joinedload(Item.owner)).order_by(Item.id).limit(PAGE)
        return [ItemRead.model_validate(item) for item in items]


@router.patch("/items/{item_id}")
async def update_item(item_id: int, data: ItemUpdate, engine: EngineDep) -> ItemRead:  # changed
    with Session(engine) as session:
        item = found(session.get(Item, item_id), item_id)
        for name, value in data.model_dump().items():
            setattr(item, name, value)
        session.commit()
        return ItemRead.model_validate(item)


@router.delete("/items/{item_id}", status_code=204, response_class=Response)
async def delete_item(item_id: int, engine: EngineDep) -> None:  # changed
    with Session(engine) as session:
        session.delete(found(session.get(Item, item_id), item_id))
        session.commit()


@router.get("/report")
async def report_items(engine: EngineDep) -> list[OwnerItems]:  # changed
    with Session(engine) as session:
        return items_by_owner(session)
