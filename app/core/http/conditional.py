"""Conditional requests (RFC 9110, section 13). An entity tag is the record's version.

The tags of a request become the versions that they name. One of none that we gave matches nothing.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Protocol, TypeVar

from fastapi import Depends, Header, Request, Response, status

from app.core.errors import Invalid, TooManyTags
from app.core.http.openapi import header_fields

# One element of a list; elements may be empty, and a tag may have commas in it.
ELEMENT = re.compile(r'[ \t]*(?:(?P<weak>W/)?"(?P<tag>[^"\x00-\x20\x7f]*)")?[ \t]*(?:,|$)')
MAX_TAGS = 50
VERSION = re.compile(r"[1-9][0-9]{0,17}")  # the database has 64 bits

Versions = frozenset[int] | None  # None is any


class Versioned(Protocol):
    @property
    def version(self) -> Any: ...  # `Any`, since a model's is `Mapped[int]`


VersionedT = TypeVar("VersionedT", bound=Versioned)


async def if_match(
    request: Request,
    if_match: Annotated[
        str | None,
        Header(
            alias="If-Match",
            description="Only when the version is still one of these.",
            examples=['"1"'],
        ),
    ] = None,
) -> Versions:
    """By strong comparison: a weak tag does not say that nothing has changed."""
    if "If-None-Match" in request.headers:
        raise Invalid("This is for reading: a change takes If-Match.", "header", "If-None-Match")
    if if_match is None or if_match.strip() == "*":
        return None
    return frozenset(version for weak, version in _parse("If-Match", if_match) if not weak)


async def if_none_match(
    if_none_match: Annotated[
        str | None,
        Header(
            alias="If-None-Match", description="The versions that the client has.", examples=['"1"']
        ),
    ] = None,
) -> Versions:
    if if_none_match is None:
        return frozenset()
    if if_none_match.strip() == "*":
        return None
    return frozenset(version for _, version in _parse("If-None-Match", if_none_match))


IfMatch = Annotated[Versions, Depends(if_match)]
IfNoneMatch = Annotated[Versions, Depends(if_none_match)]


def tagged(response: Response, record: VersionedT) -> VersionedT:
    response.headers["ETag"] = _tag(record)
    return record


def not_modified(known: Versions, record: Versioned) -> Response | None:
    """The answer to who has this version already."""
    if known is not None and record.version not in known:
        return None
    return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers={"ETag": _tag(record)})


def _tag(record: Versioned) -> str:
    return f'"{record.version}"'


def _parse(header: str, value: str) -> Iterator[tuple[bool, int]]:
    position = count = 0
    while position < len(value):
        count += 1
        if count > MAX_TAGS:
            raise TooManyTags(f"{header} takes at most {MAX_TAGS} entity tags.")
        found = ELEMENT.match(value, position)
        if found is None:
            raise Invalid('This should be entity tags such as "1", or *.', "header", header)
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
