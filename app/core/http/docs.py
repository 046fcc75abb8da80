"""Swagger UI and ReDoc without files from other hosts, and the document that they show.

The pages of `app/web` show them in the site's shell. Without these, `/docs` and `/redoc` are bare.
"""

import asyncio
import mimetypes
from copy import deepcopy
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from markupsafe import Markup
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from app.core.security.policy_headers import content_security_policy

ASSETS = Path(str(files("fastapi_offline"))) / "static"
ASSETS_URL = "/static/docs"
OPENAPI_URL = "/openapi.json"
REDOC_JS = "redoc.standalone.js"
CSP = "Content-Security-Policy"
# The style sheet of Swagger UI has images.
SWAGGER_UI_HEADERS = {CSP: content_security_policy(img_src="'self' data:")}
# ReDoc generates its style sheet and its search worker at run time.
REDOC_HEADERS = {
    CSP: content_security_policy(
        style_src="'self' 'unsafe-inline'", worker_src="blob:", img_src="'self' data:"
    )
}
EXTERNAL_LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"  # in ReDoc's footer
NO_IMAGE = b"data:,"  # ReDoc hides an image that does not load.
# The links are relative, so that they work behind a proxy's path prefix. The theme is in the head,
# so that the page is not shown in another one first.
BARE_PAGE = Markup("""<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>{title}</title>
    <link rel="icon" href="static/docs/favicon.png">
    <link rel="stylesheet" href="static/docs/swagger-ui.css">
    <link rel="stylesheet" href="static/docs/docs_theme.css">
    <script src="static/docs/docs_theme.js"></script>
  </head>
  <body>
    {content}
  </body>
</html>
""")
SWAGGER_UI = Markup("""<div id="swagger-ui" data-url="openapi.json"></div>
    <script src="static/docs/swagger-ui-bundle.js"></script>
    <script src="static/docs/swagger_ui.js"></script>""")
REDOC = Markup("""<redoc spec-url="openapi.json"></redoc>
    <script src="static/docs/redoc_theme.js"></script>
    <script src="static/docs/redoc.standalone.js"></script>""")


def add_docs(app: FastAPI) -> None:
    """Add the OpenAPI document, and the files of Swagger UI and ReDoc."""
    lock = asyncio.Lock()

    async def openapi(request: Request) -> Response:
        async with lock:  # Generated in a thread, since it would block the event loop.
            document = await run_in_threadpool(app.openapi)
        if prefix := request.scope.get("root_path", "").rstrip("/"):
            document = below_prefix(document, prefix)
        return JSONResponse(document)

    async def redoc_js(_: Request) -> Response:
        script = await run_in_threadpool(read_redoc_js)
        return Response(script, media_type="text/javascript")

    app.add_route(OPENAPI_URL, openapi, include_in_schema=False)
    app.add_route(f"{ASSETS_URL}/{REDOC_JS}", redoc_js, include_in_schema=False)
    mimetypes.init()  # At the first request for a file it would block the event loop.
    files_of_docs = StaticFiles(directory=ASSETS, packages=[(__package__, "static")])
    app.mount(ASSETS_URL, files_of_docs)


def add_bare_pages(app: FastAPI) -> None:
    """Add `/docs` and `/redoc` where the pages are deleted, which have them otherwise."""
    swagger_ui = BARE_PAGE.format(title=f"{app.title} - API", content=SWAGGER_UI)
    redoc_page = BARE_PAGE.format(title=f"{app.title} - API reference", content=REDOC)

    async def docs(_: Request) -> Response:
        return HTMLResponse(swagger_ui, headers=SWAGGER_UI_HEADERS)

    async def redoc(_: Request) -> Response:
        return HTMLResponse(redoc_page, headers=REDOC_HEADERS)

    app.add_route("/docs", docs, include_in_schema=False)
    app.add_route("/redoc", redoc, include_in_schema=False)


def below_prefix(document: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return the document whose operations, and the token's URL, are below a proxy's prefix."""
    document = deepcopy(document)  # FastAPI keeps it, and another request may have no prefix
    document["servers"] = [{"url": prefix}, *document.get("servers", [])]
    for scheme in document.get("components", {}).get("securitySchemes", {}).values():
        for flow in scheme.get("flows", {}).values():
            for name in {"tokenUrl", "refreshUrl"} & flow.keys():
                if flow[name].startswith("/"):
                    flow[name] = prefix + flow[name]
    return document


@lru_cache
def read_redoc_js() -> bytes:
    return (ASSETS / REDOC_JS).read_bytes().replace(EXTERNAL_LOGO, NO_IMAGE)
