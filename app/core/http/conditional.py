"""Conditional requests (RFC 9110, section 13). An entity tag is the record's version.

The tags of a request become the versions that they name. One of none that we gave matches nothing.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Protocol

from fastapi import Depends, Header, Request

from app.core.database.repository import MAX_VERSIONS, Versions
from app.core.errors import Invalid, TooManyTags
from app.core.http.openapi import header_fields

# One element of a list; elements may be empty, and a tag may have commas in it.
ELEMENT = re.compile(r'[ \t]*(?:(?P<weak>W/)?"(?P<tag>[^"\x00-\x20\x7f]*)")?[ \t]*(?:,|$)')
VERSION = re.compile(r"[1-9][0-9]{0,17}")  # the database has 64 bits


class Versioned(Protocol):
    @property
    def version(self) -> Any: ...  # `Any`, since a model's is `Mapped[int]`


async def if_match(
    request: Request,
    if_match: Annotated[
        str | None,
        Header(
            alias="If-Match",
            description="Change the record only if its version is one of these.",
            examples=['"1"'],
        ),
    ] = None,
) -> Versions:
    """By strong comparison: a weak tag does not say that nothing has changed."""
    if "If-None-Match" in request.headers:
        raise Invalid(
            "If-None-Match is for reading. Send If-Match with a change.", "header", "If-None-Match"
        )
    if if_match is None or if_match.strip() == "*":
        return None
    return frozenset(version for weak, version in _parse("If-Match", if_match) if not weak)


async def if_none_match(
    request: Request,
    if_none_match: Annotated[
        str | None,
        Header(
            alias="If-None-Match",
            description="The versions that the client already has.",
            examples=['"1"'],
        ),
    ] = None,
) -> Versions:
    known: Versions = frozenset()
    if if_none_match is not None:
        is_any = if_none_match.strip() == "*"
        known = None if is_any else frozenset(n for _, n in _parse("If-None-Match", if_none_match))
    request.scope["known_versions"] = known
    return known


IfMatch = Annotated[Versions, Depends(if_match)]
IfNoneMatch = Annotated[Versions, Depends(if_none_match)]


def has_version(request: Request, record: Versioned) -> bool:
    """Tell whether the client has this version already."""
    known: Versions = request.scope.get("known_versions", frozenset())
    return known is None or record.version in known


def tag_of(record: Versioned) -> str:
    return f'"{record.version}"'


def _parse(header: str, value: str) -> Iterator[tuple[bool, int]]:
    position = count = 0
    while position < len(value):
        count += 1
        if count > MAX_VERSIONS:
            raise TooManyTags(f"{header} takes at most {MAX_VERSIONS} entity tags.")
        found = ELEMENT.match(value, position)
        if found is None:
            raise Invalid('Send entity tags such as "1", or *.', "header", header)
        if VERSION.fullmatch(found["tag"] or ""):
            yield found["weak"] is not None, int(found["tag"])
        position = found.end()


# For a route's `responses`.
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {
        "description": "The client has this version already",
        "headers": header_fields("ETag"),
    }
}
