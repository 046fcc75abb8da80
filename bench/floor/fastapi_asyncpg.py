"""The same with FastAPI: its parameters, dependencies and body models, and answers in bytes."""

from typing import Annotated

from fastapi import Depends, FastAPI, Header, Query, Request, Response

from bench.floor.items import ItemCreate, Items, ItemUpdate
from bench.floor.tokens import Caller, Refused, read

items = Items()
app = FastAPI(lifespan=items.opened)
Authorization = Annotated[str | None, Header()]


async def get_reader(authorization: Authorization = None) -> Caller:
    return read(authorization, "items:read")


async def get_writer(authorization: Authorization = None) -> Caller:
    return read(authorization, "items:write")


Reader = Annotated[Caller, Depends(get_reader)]
Writer = Annotated[Caller, Depends(get_writer)]


def json(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/json")


@app.exception_handler(Refused)
async def refuse(_: Request, error: Refused) -> Response:
    return Response(status_code=error.status)


@app.get("/health/live")
async def read_liveness() -> Response:
    return json(b'{"status":"ok"}')


@app.get("/api/v1/items")
async def list_items(caller: Reader, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> Response:
    return json(await items.list(caller, limit))


@app.post("/api/v1/items")
async def create_item(caller: Writer, data: ItemCreate, request: Request) -> Response:
    item_id, body = await items.create(caller, data)
    return json(body, 201, {"Location": f"{request.scope['path']}/{item_id}"})


@app.get("/api/v1/items/{item_id}")
async def read_item(item_id: int, caller: Reader) -> Response:
    return json(await items.read(caller, item_id))


@app.patch("/api/v1/items/{item_id}")
async def update_item(item_id: int, caller: Writer, changes: ItemUpdate) -> Response:
    return json(await items.update(caller, item_id, changes))
