"""The floor: the five workloads with Starlette and asyncpg, and nothing else."""

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.floor.items import ItemCreate, Items, ItemUpdate
from bench.floor.tokens import Refused, read_token

items = Items()


def json(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(body, status, headers, media_type="application/json")


async def refuse(_: Request, error: Exception) -> Response:
    return Response(status_code=error.status if isinstance(error, Refused) else 422)


async def live(_: Request) -> Response:
    return json(b'{"status":"ok"}')


async def list_items(request: Request) -> Response:
    principal = read_token(request.headers.get("authorization"), "items:read")
    try:
        limit = int(request.query_params.get("limit", "20"))
    except ValueError:
        limit = 0
    if not 1 <= limit <= 100:
        raise Refused(422)
    return json(await items.list(principal, limit))


async def create_item(request: Request) -> Response:
    principal = read_token(request.headers.get("authorization"), "items:write")
    data = ItemCreate.model_validate_json(await request.body())
    item_id, body = await items.create(principal, data)
    return json(body, 201, {"Location": f"{request.scope['path']}/{item_id}"})


async def read_item(request: Request) -> Response:
    principal = read_token(request.headers.get("authorization"), "items:read")
    return json(await items.read(principal, request.path_params["item_id"]))


async def update_item(request: Request) -> Response:
    principal = read_token(request.headers.get("authorization"), "items:write")
    changes = ItemUpdate.model_validate_json(await request.body())
    return json(await items.update(principal, request.path_params["item_id"], changes))


app = Starlette(
    routes=[
        Route("/health/live", live),
        Route("/api/v1/items", list_items),
        Route("/api/v1/items", create_item, methods=["POST"]),
        Route("/api/v1/items/{item_id:int}", read_item),
        Route("/api/v1/items/{item_id:int}", update_item, methods=["PATCH"]),
    ],
    exception_handlers={Refused: refuse, ValidationError: refuse},
    lifespan=items.lifespan,
)
