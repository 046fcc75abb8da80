"""The workloads with FastAPI and asyncpg: parameters, dependencies and body models."""

from typing import Annotated

from fastapi import Depends, FastAPI, Header, Query, Request, Response

from bench.floor.items import ItemCreate, Items, ItemUpdate
from bench.floor.tokens import Principal, Refused, read_token

items = Items()
app = FastAPI(lifespan=items.lifespan)
Authorization = Annotated[str | None, Header()]


async def get_reader(authorization: Authorization = None) -> Principal:
    return read_token(authorization, "items:read")


async def get_writer(authorization: Authorization = None) -> Principal:
    return read_token(authorization, "items:write")


Reader = Annotated[Principal, Depends(get_reader)]
Writer = Annotated[Principal, Depends(get_writer)]


def json(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/json")


@app.exception_handler(Refused)
async def refuse(_: Request, error: Refused) -> Response:
    return Response(status_code=error.status)


@app.get("/health/live")
async def read_liveness() -> Response:
    return json(b'{"status":"ok"}')


@app.get("/api/v1/items")
async def list_items(
    principal: Reader, limit: Annotated[int, Query(ge=1, le=100)] = 20
) -> Response:
    return json(await items.list(principal, limit))


@app.post("/api/v1/items")
async def create_item(principal: Writer, data: ItemCreate, request: Request) -> Response:
    item_id, body = await items.create(principal, data)
    return json(body, 201, {"Location": f"{request.scope['path']}/{item_id}"})


@app.get("/api/v1/items/{item_id}")
async def read_item(item_id: int, principal: Reader) -> Response:
    return json(await items.read(principal, item_id))


@app.patch("/api/v1/items/{item_id}")
async def update_item(item_id: int, principal: Writer, changes: ItemUpdate) -> Response:
    return json(await items.update(principal, item_id, changes))
