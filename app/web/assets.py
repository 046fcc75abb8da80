"""Static files of the shell and of the slices: style sheets, scripts, icons."""

from collections.abc import Iterable
from hashlib import sha256
from mimetypes import guess_type
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.web.site import site_of

FOLDER = Path(__file__).parent / "static"
IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "no-cache"

router = APIRouter(include_in_schema=False)


class Asset(NamedTuple):
    content: bytes
    media_type: str
    version: str


class Assets:
    """The static files, read once at the start so that no request waits for the disk."""

    def __init__(self, folders: Iterable[Path] = ()) -> None:
        paths = (path for folder in (*folders, FOLDER) for path in folder.iterdir())
        self._assets = {path.name: _read(path) for path in paths}  # the shell's files win

    def get(self, name: str) -> Asset | None:
        return self._assets.get(name)

    def path(self, name: str) -> str:
        """Return the path of a file, with its version, since browsers cache it for a year."""
        return f"/static/{name}?v={self._assets[name].version}"


def _read(path: Path) -> Asset:
    content = path.read_bytes()
    media_type, _ = guess_type(path)  # reads files at its first call
    return Asset(content, str(media_type), sha256(content).hexdigest()[:16])


@router.get("/favicon.ico")
async def read_favicon(request: Request) -> Response:
    """Serve the icon that browsers request without being told to by a page."""
    return await read_asset("favicon.svg", request)


@router.get("/static/{name}")
async def read_asset(name: str, request: Request, v: str = "") -> Response:
    asset = site_of(request).assets.get(name)
    if asset is None:
        raise HTTPException(404)
    etag = f'"{asset.version}"'
    headers = {"ETag": etag, "Cache-Control": IMMUTABLE if v == asset.version else REVALIDATE}
    # During a deployment an old page may ask a new server. It gets the current file, uncached.
    if etag in request.headers.get("If-None-Match", ""):
        return Response(status_code=304, headers=headers)
    return Response(asset.content, headers=headers, media_type=asset.media_type)
