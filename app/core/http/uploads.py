"""Uploads: the file of a multipart form, whose body may be larger than any other.

    @router.post("/{thing_id}/file", status_code=201, openapi_extra=UPLOAD_BODY)
    async def upload_file(thing_id: int, things: WriteThings, upload: UploadDep) -> FileRead: ...

Take UploadDep after the dependency that authenticates the client: the body is read in this order.
The server keeps it on the disk if it is large, so that it is never in memory as a whole.
"""

from collections.abc import AsyncIterator, Iterable
from io import BytesIO
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from app.core.errors import Invalid
from app.core.resources import ResourcesDep
from app.core.security.principal import Principal
from app.core.storage.uploads import Upload

FIELD = "file"
MAX_FIELDS = 10
UPLOAD_BODY: dict[str, Any] = {  # for the OpenAPI document
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {FIELD: {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


async def read_upload(request: Request, resources: ResourcesDep) -> AsyncIterator[Upload]:
    """Yield the file of the form. One that is missing is empty, which `UploadRules` refuses."""
    principal: Principal = request.scope["principal"]
    # Large files are on the disk until the response is sent, so a user has few at a time.
    async with resources.uploads.hold(principal.user_id):
        try:
            form = await request.form(max_files=1, max_fields=MAX_FIELDS)
        except ClientDisconnect as error:
            raise Invalid("The upload was interrupted.", "body", FIELD) from error
        try:
            file = form.get(FIELD)
            if isinstance(file, UploadFile):
                yield Upload(file.filename or "", file.file)
            else:
                yield Upload("", BytesIO())
        finally:
            await form.close()


UploadDep = Annotated[Upload, Depends(read_upload)]


class UploadRoutes:
    """The routes that take an upload."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._contexts = [each for each in iter_route_contexts([*routes]) if takes_upload(each)]

    def match(self, scope: Scope) -> bool:
        return any(context.matches(scope)[0] is Match.FULL for context in self._contexts)


def takes_upload(context: RouteContext) -> bool:
    dependant = getattr(context, "dependant", None)
    return any(each.call is read_upload for each in dependant.dependencies) if dependant else False
