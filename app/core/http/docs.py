"""Swagger UI and ReDoc at `/docs` and `/redoc`, served without files from other hosts."""

import asyncio
import mimetypes
import re
from base64 import b64encode
from copy import deepcopy
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from app.core.security.policy_headers import content_security_policy

ASSETS = Path(str(files("fastapi_offline"))) / "static"
ASSETS_URL = "/static/docs"
OPENAPI_URL = "/openapi.json"
REDOC_JS = "redoc.standalone.js"
CSP = "Content-Security-Policy"
EXTERNAL_LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"  # in ReDoc's footer
NO_IMAGE = b"data:,"  # ReDoc hides an image that does not load.
SWAGGER_PARAMETERS = {"validatorUrl": None, "tryItOutEnabled": True}
# An earlier version of the page stored the password in localStorage.
FORGET_AUTHORIZATION = b"<script>\n    localStorage.removeItem('authorized');"
# In the head, so that the page is not shown in another theme first.
THEME = b"""<link rel="stylesheet" href="static/docs/docs_theme.css">
    <script src="static/docs/docs_theme.js"></script></head>"""
REDOC_THEME = b'</redoc><script src="static/docs/redoc_theme.js"></script>'


def add_docs(app: FastAPI) -> None:
    """Add the pages. Their links are relative, so that they work behind a proxy's path prefix."""
    openapi_url, assets = OPENAPI_URL.lstrip("/"), ASSETS_URL.lstrip("/")
    icon = f"{assets}/favicon.png"
    swagger_ui = get_swagger_ui_html(
        openapi_url=openapi_url,
        title=f"{app.title} - API",
        swagger_js_url=f"{assets}/swagger-ui-bundle.js",
        swagger_css_url=f"{assets}/swagger-ui.css",
        swagger_favicon_url=icon,
        swagger_ui_parameters=SWAGGER_PARAMETERS,
    )
    swagger_ui_html = bytes(swagger_ui.body).replace(b"<script>", FORGET_AUTHORIZATION)
    swagger_ui_html = swagger_ui_html.replace(b"</head>", THEME)
    redoc_page = get_redoc_html(
        openapi_url=openapi_url,
        title=f"{app.title} - API reference",
        redoc_js_url=f"{assets}/{REDOC_JS}",
        redoc_favicon_url=icon,
        with_google_fonts=False,
    )
    redoc_html = bytes(redoc_page.body).replace(b"</head>", THEME).replace(b"</redoc>", REDOC_THEME)
    # Swagger UI has one inline script, which starts it, and images in its style sheet.
    swagger_ui_policy = content_security_policy(
        script_src=f"'self' {hash_of_inline_script(swagger_ui_html)}",
        img_src="'self' data:",
    )
    # ReDoc generates its style sheet and its search worker at run time.
    redoc_policy = content_security_policy(
        style_src="'self' 'unsafe-inline'", worker_src="blob:", img_src="'self' data:"
    )

    lock = asyncio.Lock()

    async def openapi(request: Request) -> Response:
        async with lock:  # Generated in a thread, since it would block the event loop.
            document = await run_in_threadpool(app.openapi)
        if prefix := request.scope.get("root_path", "").rstrip("/"):
            document = below_prefix(document, prefix)
        return JSONResponse(document)

    async def docs(_: Request) -> Response:
        return HTMLResponse(swagger_ui_html, headers={CSP: swagger_ui_policy})

    async def redoc(_: Request) -> Response:
        return HTMLResponse(redoc_html, headers={CSP: redoc_policy})

    async def redoc_js(_: Request) -> Response:
        script = await run_in_threadpool(read_redoc_js)
        return Response(script, media_type="text/javascript")

    app.add_route(OPENAPI_URL, openapi, include_in_schema=False)
    app.add_route("/docs", docs, include_in_schema=False)
    app.add_route("/redoc", redoc, include_in_schema=False)
    app.add_route(f"{ASSETS_URL}/{REDOC_JS}", redoc_js, include_in_schema=False)
    mimetypes.init()  # At the first request for a file it would block the event loop.
    files_of_docs = StaticFiles(directory=ASSETS, packages=[(__package__, "static")])
    app.mount(ASSETS_URL, files_of_docs)


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


def hash_of_inline_script(html: bytes) -> str:
    """Return the source expression by which a policy allows the page's inline script."""
    (script,) = re.findall(rb"<script>(.*?)</script>", html, re.DOTALL)
    return f"'sha256-{b64encode(sha256(script).digest()).decode()}'"


@lru_cache
def read_redoc_js() -> bytes:
    return (ASSETS / REDOC_JS).read_bytes().replace(EXTERNAL_LOGO, NO_IMAGE)
