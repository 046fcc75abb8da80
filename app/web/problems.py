"""A page for each kind of problem: the `type` of a problem document is its address."""

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from app.core.http.problem_kinds import KINDS, PATH
from app.web.rendering import render

router = APIRouter(prefix=PATH, include_in_schema=False)


@router.get("")
async def list_problem_kinds(request: Request) -> Response:
    return render(request, "web/problems.html", kinds=KINDS)


@router.get("/{name}")
async def show_problem_kind(request: Request, name: str) -> Response:
    if name not in KINDS:
        raise HTTPException(404)
    return render(request, "web/problem.html", kind=KINDS[name])
