"""Swagger UI and ReDoc as pages of the site. `app.core.http.docs` has their files and policies."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.core.http.docs import REDOC_HEADERS, SWAGGER_UI_HEADERS
from app.core.translation import mark
from app.web.navigation import Link
from app.web.rendering import render

DOCS, REFERENCE = "/docs", "/redoc"
LINKS = [
    Link(
        mark("API docs"),
        DOCS,
        "anyone",
        mark("Try every operation in the browser."),
        order=5,
    ),
    Link(
        mark("Reference"),
        REFERENCE,
        "anyone",
        mark("Read about every operation."),
        order=6,
        place="front page",
    ),
]

router = APIRouter(include_in_schema=False)


@router.get(DOCS)
async def show_docs(request: Request) -> Response:
    return render(request, "web/docs.html", headers=SWAGGER_UI_HEADERS)


@router.get(REFERENCE)
async def show_reference(request: Request) -> Response:
    # Its section in the bar is that of the docs.
    return render(request, "web/redoc.html", headers=REDOC_HEADERS, path=DOCS)
