"""The form by which visitors choose a language."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.core.context import root_path
from app.core.resources import resources_of
from app.core.translation import COOKIE, languages
from app.web.forms import FormDep
from app.web.links import site_path
from app.web.navigation import local_path, redirect

YEAR = 365 * 24 * 3600

router = APIRouter(include_in_schema=False)


@router.post("/language")
async def choose_language(request: Request, form: FormDep) -> Response:
    """Remember the language, and show the page again on which it was chosen."""
    response = redirect(local_path(form.get("page"), root_path(request.scope)))
    if form.get("language") in languages():
        response.set_cookie(
            COOKIE,
            form.get("language"),
            max_age=YEAR,
            path=site_path(request, "/"),
            secure=resources_of(request).settings.is_https,
            httponly=True,
            samesite="lax",
        )
    return response
