"""The kinds of problems as JSON, at their addresses, for a project without pages."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter

from app.core.errors import NotFound
from app.core.http.problem_kinds import KINDS, PATH

router = APIRouter(prefix=PATH, include_in_schema=False)


@router.get("")
async def list_problem_kinds() -> Sequence[dict[str, Any]]:
    return [kind._asdict() for kind in KINDS.values()]


@router.get("/{name}")
async def read_problem_kind(name: str) -> dict[str, Any]:
    if name not in KINDS:
        raise NotFound(f"There is no kind of problem {name!r}.")
    return KINDS[name]._asdict()
