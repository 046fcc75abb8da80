"""Downloads of stored files, whole or in part (RFC 9110, section 14)."""

import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.core.errors import NotFound
from app.core.http.openapi import header_fields
from app.core.http.problem_kinds import MEDIA_TYPE, example_of
from app.core.storage.storage import Download, Storage
from app.core.storage.uploads import SUFFIXES

# One range. Several in one request are ignored, as a server may, and the whole file is sent.
RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})?|bytes=-([0-9]{1,18})", re.IGNORECASE)
# The files come from users: even one that a browser opens must not run anything on this site. All
# responses forbid sniffing: see `app.core.security.policy_headers`.
HEADERS = {
    "Accept-Ranges": "bytes",
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
}
BINARY = {each: {"schema": {"type": "string", "format": "binary"}} for each in SUFFIXES}
FILE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file",
        "headers": header_fields("Content-Disposition", "ETag"),
        "content": BINARY,
    },
    206: {
        "description": "The part of the file that `Range` asks for",
        "headers": header_fields("Content-Disposition", "Content-Range", "ETag"),
        "content": BINARY,
    },
    304: {"description": "The client has this file already", "headers": header_fields("ETag")},
    416: {
        "description": "The file has no such part",
        "content": {MEDIA_TYPE: {"examples": example_of("range-not-satisfiable")}},
    },
}
logger = logging.getLogger("app.storage")


async def send_file(request: Request, storage: Storage, file: Download) -> Response:
    """Return a response that streams the file, or the part that the request asks for.

    Raise NotFound if the file was deleted.
    """
    etag = f'"{file.tag}"'
    headers = HEADERS | {"ETag": etag, "Content-Disposition": disposition(file.name)}
    known = request.headers.get("If-None-Match", "")
    if etag in known or known == "*":
        return Response(status_code=304, headers=headers)
    start, stop, status = 0, file.size, 200
    if part := requested_part(request, etag, file.size):
        start, stop, status = *part, 206
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{file.size}"
    headers["Content-Length"] = str(stop - start)
    chunks = storage.read(file.key, start, stop)
    try:
        first = await anext(chunks)  # An error in it gets an ordinary error response.
    except FileNotFoundError as error:
        # It was deleted after its row was read, or the storage has lost it.
        logger.error("There is no file %s", file.key)
        raise NotFound("The file does not exist any more.") from error
    return FileResponse(first, chunks, status, headers, file.media_type)


class FileResponse(StreamingResponse):
    """Streams a file, and closes it also for a HEAD, or when the client goes away."""

    def __init__(
        self,
        first: bytes,
        rest: AsyncGenerator[bytes],
        status: int,
        headers: Mapping[str, str],
        media_type: str,
    ) -> None:
        super().__init__(self._content(first), status, headers, media_type)
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._rest.aclose()

    async def _content(self, first: bytes) -> AsyncIterator[bytes]:
        yield first
        async for chunk in self._rest:
            yield chunk


def requested_part(request: Request, etag: str, size: int) -> tuple[int, int] | None:
    """Return the start and the end of the requested range, or None for the whole file.

    Raise HTTPException with the status 416 if the file has no such part.
    """
    if request.headers.get("If-Range", etag) != etag:
        return None  # The client has a part of another file.
    found = RANGE.fullmatch(request.headers.get("Range", "").replace(" ", ""))
    if found is None:
        return None
    first, last, from_end = found.groups()
    if from_end is not None:
        start, stop = max(size - int(from_end), 0), size
    elif last is not None and int(last) < int(first):
        return None  # It is not valid, so it is ignored.
    else:
        start, stop = int(first), size if last is None else min(int(last) + 1, size)
    if start >= size:
        detail = f"The file has {size:,} bytes."
        raise HTTPException(416, detail, {"Content-Range": f"bytes */{size}"})
    return start, stop


def disposition(name: str) -> str:
    """Return a Content-Disposition with the name in ASCII, and in UTF-8 as well (RFC 6266)."""
    plain = re.sub(r'["\\%]|[^\x20-\x7e]', "_", name)
    field = f'attachment; filename="{plain}"'
    return field if plain == name else f"{field}; filename*=UTF-8''{quote(name, safe='')}"
